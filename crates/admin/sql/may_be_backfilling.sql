-- The destinations among those of the placeholder (choose_unsettled.sql) whose copies may be being
-- made, or made again: all of which that is so, and few others. Part of list_destinations.sql; no
-- parameters.
select d.*
  from ({unsettled}) d
 where exists (select from unnest(d.mappings) own (name)
             where not exists (select from offtake.destination_mapping m
                                where m.destination_id = d.destination_id and m.mapping = own.name and m.backfilled))
    or exists (select from offtake.waiting_mapping w where w.destination_id = d.destination_id)
    or exists (select from offtake.resync_request q where q.destination_id = d.destination_id)
    or exists (select from offtake.overlooked_mapping o where o.mapping = any(d.mappings))

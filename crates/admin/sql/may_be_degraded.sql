-- The destinations among those of the placeholder (choose_unsettled.sql) that may lack rows although
-- every change was applied: every one that does, and few others. Part of list_destinations.sql; no
-- parameters.
select d.*
  from ({unsettled}) d
 where exists (select from offtake.quarantined_row q where q.destination_id = d.destination_id)
    or exists (select from offtake.destination_mapping m where m.destination_id = d.destination_id and m.differences > 0)

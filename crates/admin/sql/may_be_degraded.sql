-- The destinations among those of the placeholder (choose_unsettled.sql) that may lack rows although
-- every change was applied, or are strained: every one that is, and few others. Part of list_destinations.sql; no
-- parameters.
select d.*
  from ({unsettled}) d
 where d.state = 'degraded'
    or exists (select from offtake.quarantined_row q where q.destination_id = d.destination_id)
    or exists (select from offtake.destination_mapping m where m.destination_id = d.destination_id and m.differences > 0)

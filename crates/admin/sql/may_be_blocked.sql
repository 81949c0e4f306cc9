-- The destinations among those of the placeholder (choose_unsettled.sql) that may be blocked: every
-- one that is, and few others. Part of list_destinations.sql; no parameters.
select d.*
  from ({unsettled}) d
 where d.refused is not null or d.state = 'blocked' or d.consecutive_failures > 0
    or exists (select from offtake.outgoing_request r where r.kind = 'sync' and r.destination_id = d.destination_id and r.failures > 0)
    or exists (select from offtake.waiting_mapping w where w.destination_id = d.destination_id)
    or exists (select from offtake.destination_mapping m
                where m.destination_id = d.destination_id and (m.failures > 0 or m.error is not null))

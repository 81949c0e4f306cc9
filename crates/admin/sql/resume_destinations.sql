-- Resumes paused destinations ($1 bigint[]: their ids). What they were owed meanwhile is due at
-- once. Locks them in the order of their ids, as all statements that write many destinations do.
with held as materialized (
  select destination_id from offtake.destination where destination_id = any($1) order by destination_id for no key update
)
update offtake.destination d
   set paused_at = null, paused_until = null, pause_reason = null, updated_at = now()
  from held
 where d.destination_id = held.destination_id and paused_at is not null and (paused_until is null or paused_until > now())

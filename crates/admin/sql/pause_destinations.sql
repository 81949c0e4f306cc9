-- Pauses destinations. $1 bigint[]: their ids. $2 text: the reason. $3 float8: after so many
-- seconds the pause ends by itself; null: only an operator ends it. From then on no worker claims
-- their requests, and a turn in progress ends with its batch. Locks them
-- in the order of their ids, as all statements that write many destinations do.
with held as materialized (
  select destination_id from offtake.destination where destination_id = any($1) order by destination_id for no key update
)
update offtake.destination d
   set paused_at = now(), paused_until = now() + make_interval(secs => $3), pause_reason = $2, updated_at = now()
  from held
 where d.destination_id = held.destination_id
returning paused_until

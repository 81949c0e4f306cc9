-- Pauses destinations. $1 bigint[]: their ids. $2 text: the reason. $3 float8: after so many
-- seconds the pause ends by itself; null: only an operator ends it. From then on no worker claims
-- their requests, and a turn in progress ends within half a second.
update offtake.destination
   set paused_at = now(), paused_until = now() + make_interval(secs => $3), pause_reason = $2, updated_at = now()
 where destination_id = any($1)
returning paused_until

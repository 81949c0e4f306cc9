-- Pauses destinations: $1 bigint[]; $2 the reason; $3 float8 seconds until they go on by
-- themselves, null: only by command. Nothing is claimed for them from then on, and a turn in
-- progress ends within half a second.
update offtake.destination
   set paused_at = now(), paused_until = now() + make_interval(secs => $3), pause_reason = $2, updated_at = now()
 where destination_id = any($1)
returning paused_until

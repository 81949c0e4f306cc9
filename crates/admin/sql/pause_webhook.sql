-- Pauses a webhook. $1 bigint: its id. $2 text: the reason. $3 float8: after so many seconds the
-- pause ends by itself; null: only an operator ends it. From then on no worker claims its request,
-- and a turn in progress ends within a second.
update offtake.webhook
   set paused_at = now(), paused_until = now() + make_interval(secs => $3), pause_reason = $2, updated_at = now()
 where webhook_id = $1
returning paused_until

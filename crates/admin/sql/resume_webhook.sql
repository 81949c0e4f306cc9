-- Resumes a paused webhook ($1 bigint: its id). What it was owed meanwhile is due at once.
update offtake.webhook
   set paused_at = null, paused_until = null, pause_reason = null, updated_at = now()
 where webhook_id = $1 and paused_at is not null and (paused_until is null or paused_until > now())

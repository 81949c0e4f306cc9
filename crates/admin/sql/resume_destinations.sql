-- Resumes paused destinations ($1 bigint[]: their ids). What they were owed meanwhile is due at
-- once.
update offtake.destination
   set paused_at = null, paused_until = null, pause_reason = null, updated_at = now()
 where destination_id = any($1) and paused_at is not null and (paused_until is null or paused_until > now())

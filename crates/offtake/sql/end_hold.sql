-- Ends the pause that a restore has made. $1 bigint: the destination; $2 text: the reason that the
-- restore gave. A pause that lasts until an operator ends it is left alone, and so is one of
-- another reason. By primary key.
update offtake.destination
   set paused_at = null, paused_until = null, pause_reason = null, updated_at = now()
 where destination_id = $1 and pause_reason = $2 and paused_until is not null

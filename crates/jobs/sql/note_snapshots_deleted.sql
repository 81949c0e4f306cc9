-- Says of snapshots that their files are deleted. $1 text[]: their ids. One that goes on is left alone.
update offtake.job set state = 'expired', files = null, expires_at = coalesce(expires_at, now()), updated_at = now()
 where kind = 'snapshot' and public_id = any($1::text[]) and state in ('completed', 'failed', 'cancelled')

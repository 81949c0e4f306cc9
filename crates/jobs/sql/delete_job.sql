-- Forgets a job that was retired and whose files are deleted. $1 text: the kind; $2 text: its public id. Its
-- parts go with it.
delete from offtake.job
 where kind = $1 and public_id = $2 and expires_at <= now() and state in ('completed', 'expired', 'failed', 'cancelled')

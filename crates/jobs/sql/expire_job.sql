-- Says that the files of a job are deleted. $1 text: the kind; $2 text: its public id.
update offtake.job set state = 'expired', files = null, updated_at = now()
 where kind = $1 and public_id = $2 and expires_at <= now() and state in ('completed', 'failed', 'cancelled')

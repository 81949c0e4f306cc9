-- Has the files of complete snapshots deleted. $1 text[]: their public ids.
update offtake.job set expires_at = now(), updated_at = now()
 where kind = 'snapshot' and public_id = any($1::text[]) and state = 'completed'

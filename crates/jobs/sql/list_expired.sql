-- Jobs whose files are to be deleted. $1 text: the kind; $2 text[]: of these stores. Uses job_expiring.
select public_id, store from offtake.job
 where kind = $1 and store = any($2::text[]) and expires_at <= now() and state in ('completed', 'failed', 'cancelled')
 order by expires_at limit 100

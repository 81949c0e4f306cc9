-- Jobs whose files are to be deleted. $1 text: the kind; $2 text[]: of these stores. Each store has its own hundred, so
-- that one that fails keeps none of another store waiting. Uses job_expiring.
select e.public_id, s.store
  from unnest($2::text[]) s (store)
 cross join lateral (
   select public_id, expires_at from offtake.job
    where kind = $1 and store = s.store and expires_at <= now() and state in ('completed', 'failed', 'cancelled')
    order by expires_at limit 100) e
 order by e.expires_at

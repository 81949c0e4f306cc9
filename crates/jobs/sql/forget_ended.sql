-- Forgets jobs of a kind that ended thirty days ago: those whose files were deleted, and those that a command did,
-- whose files are the operator's. $1 text: the kind. At most a thousand at a time. A transaction of its own.
delete from offtake.job
 where job_id in (select job_id from offtake.job
                   where kind = $1 and updated_at < now() - interval '30 days' and (leased_until is null or leased_until <= now())
                     and (state = 'expired' or folder is not null and state in ('completed', 'failed', 'cancelled'))
                   limit 1000)

-- Ends a job for good, before its files are deleted. $1 text: the kind; $2 text: its public id. Afterwards no
-- process claims the job, `resume` refuses it, and statements of a worker that lost its lease change
-- nothing. If the caller dies here, a daemon deletes the files as those of an expired job. No row: there
-- is no such job, or a process works on it.
update offtake.job
   set state = case when state in ('accepted', 'processing', 'paused', 'settling') then 'cancelled' else state end,
       finished_at = coalesce(finished_at, now()), expires_at = now(), leased_until = null, leased_by = null,
       updated_at = now()
 where kind = $1 and public_id = $2 and (leased_until is null or leased_until <= now())
returning job_id

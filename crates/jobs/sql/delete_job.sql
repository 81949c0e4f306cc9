-- Forgets a job that no process works on. $1 text: the kind; $2 text: its public id. Its parts go with it; its files are
-- deleted before, by the caller.
delete from offtake.job
 where kind = $1 and public_id = $2 and (leased_until is null or leased_until <= now())
returning job_id

-- The heartbeat: extends the lease of job $1 bigint by $3 bigint milliseconds, while $2 bigint is still
-- its attempt and it is still to be worked on. No row: the job is another process's, was deleted or has ended.
-- Returns whether it is to be cancelled. A transaction of its own.
update offtake.job
   set leased_until = now() + $3::bigint * interval '1 millisecond', updated_at = now()
 where job_id = $1 and attempt = $2 and leased_until is not null
   and state in ('accepted', 'processing', 'paused', 'settling')
returning cancel_requested_at is not null as cancelled

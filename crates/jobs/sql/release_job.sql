-- Ends the lease of job $1 bigint while $2 bigint is still its attempt. It is due again after $3
-- bigint milliseconds; $4 text: its state until then, or null: as it is; $5 text: the reason. $6
-- boolean: the attempt failed. No row: it is another process's, or has ended. A transaction of its own.
update offtake.job
   set leased_until = null, leased_by = null, not_before = now() + $3::bigint * interval '1 millisecond',
       state = coalesce($4, state), reason = $5, failures = case when $6 then failures + 1 else 0 end, updated_at = now()
 where job_id = $1 and attempt = $2 and leased_until is not null
returning job_id

-- Owes the callback of a job that has just ended, where it has one. $1 bigint: the job. One that is owed
-- from an earlier end is owed anew. What ends a job calls it, in the transaction that ends it, so that a crash loses
-- no callback.
insert into offtake.outgoing_request (kind, job_id, wanted_sequence_id)
select 'callback', j.job_id, 0 from offtake.job j where j.job_id = $1 and j.options ? 'callback'
on conflict (job_id) where kind = 'callback' do update
   set attempt = outgoing_request.attempt + 1, leased_until = null, leased_by = null, failures = 0, last_error = null, not_before = now()

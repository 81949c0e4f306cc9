-- Owes the callback of a job that has just ended, where its client asked for one. $1 bigint: the job. A request that is
-- left from the job's earlier end begins again: with no failures, due now, and without its lease. The attempt
-- is raised, so that a process that still sends the earlier end settles nothing. The transaction
-- that ends the job calls it, so that a crash loses no callback. Uses outgoing_request_callback.
insert into offtake.outgoing_request (kind, job_id, wanted_sequence_id)
select 'callback', j.job_id, 0 from offtake.job j where j.job_id = $1 and j.options ? 'callback'
on conflict (job_id) where kind = 'callback' do update
   set attempt = outgoing_request.attempt + 1, leased_until = null, leased_by = null, failures = 0, last_error = null, not_before = now()

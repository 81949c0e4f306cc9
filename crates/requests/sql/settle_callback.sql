-- Notes how an attempt to tell a callback went, while $2 bigint is still the attempt of request $1 bigint. $3 jsonb: what
-- the job shows of it, or null: nothing was sent; $4 bigint: milliseconds until the next attempt, or null: there is
-- none, and the request is done. The webhooks engine calls it; a transaction of its own. Locks the job, then
-- the request, as the transaction that ends a job does: in another order the two could deadlock.
with job as (
  select j.job_id from offtake.job j
   where j.job_id = (select job_id from offtake.outgoing_request where request_id = $1)
     for no key update
), done as (
  delete from offtake.outgoing_request r using job
   where r.job_id = job.job_id and r.request_id = $1 and r.attempt = $2 and $4::bigint is null
  returning r.job_id
), again as (
  update offtake.outgoing_request r
     set failures = r.failures + 1, leased_until = null, leased_by = null, not_before = now() + $4::bigint * interval '1 millisecond'
    from job
   where r.job_id = job.job_id and r.request_id = $1 and r.attempt = $2 and $4::bigint is not null
  returning r.job_id
)
update offtake.job j
   set callback = coalesce($3::jsonb, j.callback)
  from (select job_id from done union all select job_id from again) settled
 where j.job_id = settled.job_id

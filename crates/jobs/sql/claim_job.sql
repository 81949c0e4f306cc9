-- Claims a job that is due. $1 text: the kind; $2 bigint: the lease in milliseconds; $3 text: the
-- process that claims; $4 text[]: stores that the process has; $5 text: the id of the job that a command claims
-- for itself, or null: any that has one of the stores. A job whose process died is due when its lease
-- has run out. Daemons leave the jobs of a tenant whose fuse is blown, as the job spells the tenant or as the
-- source prints it. One that is to be cancelled is claimed at once. One that waited for a process is processed from
-- now on; one that pauses does so until its worker has done something.
-- A transaction of its own. Uses job_due; skips what another claim holds; waits for nothing.
update offtake.job j
   set attempt = j.attempt + 1, leased_until = now() + $2::bigint * interval '1 millisecond', leased_by = $3,
       state = case j.state when 'accepted' then 'processing' else j.state end,
       started_at = coalesce(j.started_at, now()), updated_at = now()
 where j.job_id = (
   select d.job_id from offtake.job d
    where d.kind = $1 and d.state in ('accepted', 'processing', 'paused', 'settling')
      and (d.not_before <= now() or d.cancel_requested_at is not null or $5::text is not null)
      and (d.leased_until is null or d.leased_until <= now())
      and case when $5::text is null then d.store = any($4::text[]) else d.public_id = $5 end
      and ($5::text is not null
           or not exists (select from offtake.fuse f
                           where not f.enabled and (f.until is null or f.until > now())
                             and f.name in ('tenant:' || d.tenant_id, 'tenant:' || coalesce(d.source_tenant_id, d.tenant_id))))
    order by d.not_before, d.job_id
    limit 1
    for no key update skip locked)
returning j.job_id, j.public_id, j.attempt, j.cancel_requested_at is not null as cancelled

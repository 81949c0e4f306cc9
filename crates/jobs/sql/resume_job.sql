-- Has a job go on that failed, was cancelled or pauses. $1 text: the kind; $2 text: its public id. No row: it
-- is in another state, its files are being deleted, or the tenant has another export that goes on.
update offtake.job j
   set state = 'accepted', reason = null, cancel_requested_at = null, not_before = now(), failures = 0,
       finished_at = null, expires_at = null, updated_at = now()
 where j.kind = $1 and j.public_id = $2 and j.state in ('failed', 'cancelled', 'paused')
   and (j.leased_until is null or j.leased_until <= now())
   and (j.expires_at is null or j.expires_at > now())
   and not exists (select from offtake.job o
                    where o.kind = 'export' and j.kind = 'export' and o.job_id <> j.job_id
                      and coalesce(o.source_tenant_id, o.tenant_id) = coalesce(j.source_tenant_id, j.tenant_id)
                      and o.state in ('accepted', 'processing', 'paused', 'settling'))
returning j.state

-- The export or the snapshot of a tenant that goes on. $1 text: the kind; $2 text: the tenant as the source
-- prints it. Uses job_running_export or job_running_snapshot.
select public_id from offtake.job
 where kind = 'export' and $1 = 'export' and coalesce(source_tenant_id, tenant_id) = $2
   and state in ('accepted', 'processing', 'paused', 'settling')
 union all
select public_id from offtake.job
 where kind = 'snapshot' and $1 = 'snapshot' and coalesce(source_tenant_id, tenant_id) = $2
   and state in ('accepted', 'processing', 'paused', 'settling')

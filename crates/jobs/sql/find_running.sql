-- The export or the snapshot of a tenant that goes on. $1 text: the kind; $2 text: the tenant; $3 text: the tenant as
-- the source prints it. Uses job_running_snapshot, or for exports, which may be spelled in two ways, job_due.
select public_id from offtake.job
 where kind = 'export' and $1 = 'export' and (tenant_id = $2 or coalesce(source_tenant_id, tenant_id) = $3)
   and state in ('accepted', 'processing', 'paused', 'settling')
 union all
select public_id from offtake.job
 where kind = 'snapshot' and $1 = 'snapshot' and coalesce(source_tenant_id, tenant_id) = $3
   and state in ('accepted', 'processing', 'paused', 'settling')

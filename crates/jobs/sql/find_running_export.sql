-- The export of a tenant that goes on. $1 text: the tenant. Uses job_running_export.
select public_id from offtake.job
 where kind = 'export' and tenant_id = $1 and state in ('accepted', 'processing', 'paused', 'settling')

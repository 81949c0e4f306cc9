-- One export of a tenant goes on at a time, however the tenant is spelled. Daemons of the version before
-- this one may go on running: where a tenant has one, they record no second one.

-- The version before could let two go on that were asked for in the same instant. A process that works on
-- the later one finds out, and stops.
update offtake.job j
   set state = 'cancelled', reason = 'another export of the tenant goes on', finished_at = now(),
       expires_at = case when j.folder is null then now() + interval '7 days' end,
       leased_until = null, leased_by = null, updated_at = now()
 where j.kind = 'export' and j.state in ('accepted', 'processing', 'paused', 'settling')
   and exists (select from offtake.job o
                where o.kind = 'export' and o.state in ('accepted', 'processing', 'paused', 'settling')
                  and o.job_id < j.job_id
                  and coalesce(o.source_tenant_id, o.tenant_id) = coalesce(j.source_tenant_id, j.tenant_id));

drop index offtake.job_running_export;
-- Lists look for a tenant under all its spellings, newest first, by the key.
drop index offtake.job_tenant;

create unique index job_running_export on offtake.job (coalesce(source_tenant_id, tenant_id))
  where kind = 'export' and state in ('accepted', 'processing', 'paused', 'settling');

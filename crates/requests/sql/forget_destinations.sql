-- Deletes destinations ($1 bigint[]) from the registry, with everything that hangs on them:
-- mirrored cursors, requests, quarantined rows, re-copies that were asked for, waiting mappings,
-- visits. Also deletes their fuses, and a tenant's fuse with its last destination. The change log
-- keeps the tenant's changes until retention drops them. Returns how many destinations. The admin
-- side calls it after begin_forgetting.sql; a transaction of its own.
with gone as (
  delete from offtake.destination
   where destination_id = any($1) and forget_requested_at is not null
  returning tenant_id, name
), fuses as (
  delete from offtake.fuse f using gone g
   where f.name = 'destination:' || g.tenant_id || '/' || g.name
      or (f.name = 'tenant:' || g.tenant_id
          and not exists (select from offtake.destination d where d.tenant_id = g.tenant_id and d.destination_id <> all($1)))
)
select count(*) as destinations from gone

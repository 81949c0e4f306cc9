-- How the source prints a tenant's id, where that is not how the id is configured: `A0EE…` of a
-- uuid, `007` of an integer. The change log has the source's spelling.

alter table offtake.destination add column source_tenant_id text;
comment on column offtake.destination.source_tenant_id is
  'The tenant as change_log.tenant_id has it; null: as tenant_id. tenant_id stays the name by which the configuration calls the tenant.';
create index destination_tenant_in_log on offtake.destination (coalesce(source_tenant_id, tenant_id));

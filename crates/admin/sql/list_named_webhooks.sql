-- The active webhooks of tenant $1 with the name $2 (text; null matches all), sorted by both.
select webhook_id, tenant_id, coalesce(source_tenant_id, tenant_id) as tenant_at_source, name, refused, mappings, source_tables
  from offtake.webhook
 where active and ($1::text is null or tenant_id = $1) and ($2::text is null or name = $2)
 order by tenant_id, name

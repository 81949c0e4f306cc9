-- The active destinations of tenant $1 with the name $2 (each text; null matches all).
-- tenant_at_source: the tenant as the source prints it. refused: why no daemon syncs the
-- destination; null: it is synced.
select destination_id, tenant_id, coalesce(source_tenant_id, tenant_id) as tenant_at_source, name, refused, mappings
  from offtake.destination
 where ($1::text is null or tenant_id = $1) and ($2::text is null or name = $2) and active
 order by tenant_id, name

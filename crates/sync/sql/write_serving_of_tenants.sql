-- Names the source that serves several tenants from now on, as write_serving.sql does for one; the
-- caller holds the locks of their rows. $1 text[] tenants, $2 text[] the source's name, $3 text[] its
-- identity as JSON, one of each per tenant. {state} is the state table.
update {state} s
   set source = v.source, source_identity = v.identity::jsonb, served_at = now(),
       served_since = case when s.source = v.source then coalesce(s.served_since, now()) else now() end
  from unnest($1::text[], $2::text[], $3::text[]) v (tenant_id, source, identity)
 where s.tenant_id = v.tenant_id
returning s.tenant_id::text, s.mapping::text, s.xmin::text as written

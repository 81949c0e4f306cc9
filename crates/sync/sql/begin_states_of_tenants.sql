-- Begins copies of tenants of whom nothing is here yet, and names the source that serves them. $1
-- text[] tenants, $2 text[] mappings of each of them, $3 text[] their versions, $4 bigint where the
-- log stands, $5 text its epoch; one of each per tenant: $6 text[] the source's name, $7 text[] its
-- identity as JSON, or nulls. {state} is the state table. A row that is there already is left as it
-- is, and is not returned: another worker began that copy.
insert into {state} as s (tenant_id, mapping, sequence_id, backfilled, epoch, version, updated_at, served_at, source, source_identity, served_since)
select t.tenant_id, m.mapping, $4, false, $5::uuid, m.version, now(), now(), t.source, t.identity::jsonb, case when t.source is not null then now() end
  from unnest($1::text[], $6::text[], $7::text[]) t (tenant_id, source, identity) cross join unnest($2::text[], $3::text[]) m (mapping, version)
 order by t.tenant_id, m.mapping
on conflict (tenant_id, mapping) do nothing
returning tenant_id::text, mapping::text, xmin::text as written

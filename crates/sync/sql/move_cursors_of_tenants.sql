-- Moves the cursors of several tenants, as move_cursors.sql does those of one; see there. $1 text[]
-- tenants, $2 text[] mappings, $3 bigint[] sequence ids, $4 text[] epochs, $5 text[] versions, and for
-- tenants who are told again which source serves them $6 text[] its name and $7 text[] its identity as
-- JSON, as write_serving_of_tenants.sql does, or nulls: one of each per cursor. {state} is the table. All copies are complete. The rows are there and locked.
update {state} s
   set sequence_id = m.sequence_id, backfilled = true, backfill_key = null, epoch = m.epoch::uuid, version = m.version,
       updated_at = now(), served_at = now(), source = coalesce(m.source, s.source),
       source_identity = coalesce(m.identity::jsonb, s.source_identity),
       served_since = case when m.source is null then s.served_since when s.source = m.source then coalesce(s.served_since, now()) else now() end
  from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
       m (tenant_id, mapping, sequence_id, epoch, version, source, identity)
 where s.tenant_id = m.tenant_id and s.mapping = m.mapping
returning s.tenant_id::text, s.mapping::text, s.xmin::text as written

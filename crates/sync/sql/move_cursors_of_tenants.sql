-- Moves the cursors of several tenants, as move_cursors.sql does those of one; see there. $1 text[]
-- tenants, $2 text[] mappings, $3 bigint[] sequence ids, $4 text[] epochs, $5 text[] versions: one of
-- each per cursor. {state} is the table. All copies are complete. The rows are there and locked.
update {state} s
   set sequence_id = m.sequence_id, backfilled = true, backfill_key = null, epoch = m.epoch::uuid, version = m.version,
       updated_at = now(), served_at = now()
  from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[]) m (tenant_id, mapping, sequence_id, epoch, version)
 where s.tenant_id = m.tenant_id and s.mapping = m.mapping
returning s.tenant_id::text, s.mapping::text, s.xmin::text as written

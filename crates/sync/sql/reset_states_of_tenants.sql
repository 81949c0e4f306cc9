-- Begins the copies of tenants again of whom there is something already. $1 text[] tenants, $2 text[]
-- mappings of each of them, $3 text[] their versions, $4 bigint where the log stands, $5 text its
-- epoch. {state} is the state table. The rows that are there are locked, and were compared.
insert into {state} as s (tenant_id, mapping, sequence_id, backfilled, epoch, version, updated_at, served_at)
select t.tenant_id, m.mapping, $4, false, $5::uuid, m.version, now(), now()
  from unnest($1::text[]) t (tenant_id) cross join unnest($2::text[], $3::text[]) m (mapping, version)
 order by t.tenant_id, m.mapping
on conflict (tenant_id, mapping) do update
   set sequence_id = excluded.sequence_id, backfilled = false, backfill_key = null, epoch = excluded.epoch, version = excluded.version,
       updated_at = now(), served_at = now()
returning tenant_id::text, mapping::text, xmin::text as written

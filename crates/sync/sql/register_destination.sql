-- Writes what is known about one destination. $1 tenant, $2 name, $3 schema, $4 host, $5 port, $6
-- database, $7 user, $8 shared, $9 text[] mappings, $10 text[] source tables, $11 text refused or
-- null, $12 text how the source prints the tenant, null: as $1. Nothing is written when nothing
-- changed. A mapping that comes back was not captured meanwhile, or not as it needs it: what the
-- destination has of it, and its cursor, say nothing of that time, so it is re-copied. So are all
-- copies when the source's spelling becomes another one: changes were looked for under the old one.
-- A destination that an operator is forgetting is refused until that is done. Returns its id, and
-- whether it moved to another place.
with before as (
  select destination_id, host, port, database_name, schema_name, mappings, source_tenant_id from offtake.destination where tenant_id = $1 and name = $2
), written as (
  insert into offtake.destination as d
         (tenant_id, name, schema_name, host, port, database_name, user_name, shared, mappings, source_tables, refused,
          source_tenant_id)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
  on conflict (tenant_id, name) do update
     set schema_name = $3, host = $4, port = $5, database_name = $6, user_name = $7, shared = $8, mappings = $9, source_tables = $10,
         refused = case when d.forget_requested_at is null then $11
           else format('it is being forgotten; run offtake forget for it again, to the end: then it is registered as a new one') end,
         source_tenant_id = $12, active = true, updated_at = now()
   where (d.schema_name, d.host, d.port, d.database_name, d.user_name, d.shared, d.mappings, d.source_tables, d.active)
         is distinct from ($3, $4, $5, $6, $7, $8, $9, $10, true) or d.refused is distinct from $11
         or d.source_tenant_id is distinct from $12
  returning d.destination_id
), back as (
  insert into offtake.resync_request (destination_id, mapping)
  select b.destination_id, m.mapping
    from before b
    join written w using (destination_id)
    join offtake.destination_mapping m using (destination_id)
   where m.mapping = any($9) and (m.mapping <> all(b.mappings) or b.source_tenant_id is distinct from $12)
)
select coalesce((select destination_id from written), (select destination_id from before)) as destination_id,
       exists (select from before b where (b.host, b.port, b.database_name, b.schema_name) is distinct from ($4, $5, $6, $3)) as moved

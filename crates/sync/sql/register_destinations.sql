-- Writes what is known about some destinations. $1 jsonb: an array of objects with the columns of
-- `given` below: mappings, their versions and source_tables are arrays of text; refused is null or
-- why; the tenant at the source is null where the source prints it as tenant_id. No destination is there twice.
-- $2 bigint[]: those that have changed (find_registered.sql), which hold_destinations.sql has locked;
-- nothing is written of the others, not even a lock. A mapping that comes back was not captured
-- meanwhile, or not as it needs it: what the destination has of it, and its cursor, say nothing of
-- that time, so it is re-copied. So are all copies when the source's spelling becomes another one:
-- changes were looked for under the old one. A destination that an operator is forgetting is refused
-- until that is done. Of a destination that moved, the mirror says nothing about the new place and
-- is deleted. Returns the ids, by tenant and name, and whether each stands: nothing was written of it,
-- its last turn left it in sync, and each copy was made with this version of its mapping.
-- The registry calls it in its transaction, under its lock, with up to a thousand destinations.
with given as materialized (
  select *
    from jsonb_to_recordset($1) as g (tenant_id text, name text, kind text, schema_name text, host text, port int, database_name text, user_name text,
                                      shared boolean, mappings text[], source_tables text[], refused text, source_tenant_id text, versions text[])
), before as materialized (
  select d.destination_id, d.tenant_id, d.name, d.mappings, d.source_tenant_id,
         d.state = 'in_sync' and not exists (
           select from unnest(g.mappings, g.versions) v (mapping, version)
             left join offtake.destination_mapping m on m.destination_id = d.destination_id and m.mapping = v.mapping
            where m.version is distinct from v.version or m.version_at is distinct from m.updated_at or m.backfilled is not true
         ) as stands,
         (d.kind, d.host, d.port, d.database_name, d.schema_name) is distinct from
           (g.kind, g.host, g.port, g.database_name, g.schema_name) as moved
    from given g cross join lateral
         (select * from offtake.destination d where d.tenant_id = g.tenant_id and d.name = g.name offset 0) d
), written as (
  insert into offtake.destination as d
         (tenant_id, name, kind, schema_name, host, port, database_name, user_name, shared, mappings, source_tables, refused,
          source_tenant_id)
  select tenant_id, name, kind, schema_name, host, port, database_name, user_name, shared, g.mappings, source_tables, refused, g.source_tenant_id
    from given g left join before b using (tenant_id, name)
   where b.destination_id is null or b.destination_id = any($2::bigint[])
   order by tenant_id, name
  on conflict (tenant_id, name) do update
     set kind = excluded.kind, schema_name = excluded.schema_name, host = excluded.host, port = excluded.port, database_name = excluded.database_name,
         user_name = excluded.user_name, shared = excluded.shared, mappings = excluded.mappings, source_tables = excluded.source_tables,
         refused = case when d.forget_requested_at is null then excluded.refused
           else format('it is being forgotten; run offtake forget for it again, to the end: then it is registered as a new one') end,
         source_tenant_id = excluded.source_tenant_id, active = true, updated_at = now()
  returning d.destination_id, d.tenant_id, d.name, d.mappings, d.source_tenant_id
), back as (
  insert into offtake.resync_request (destination_id, mapping)
  select b.destination_id, m.mapping
    from before b
    join written w using (destination_id)
    join offtake.destination_mapping m using (destination_id)
   where m.mapping = any(w.mappings)
     and (m.mapping <> all(b.mappings) or b.source_tenant_id is distinct from w.source_tenant_id)
), forgotten as (
  delete from offtake.destination_mapping m using before b where b.moved and m.destination_id = b.destination_id
)
select coalesce(w.destination_id, b.destination_id) as destination_id, g.tenant_id, g.name, w.destination_id is null and coalesce(b.stands, false) as stands
  from given g
  left join before b using (tenant_id, name)
  left join written w using (tenant_id, name)

-- Registers a destination that the destinations query names in a way that cannot be used, so that
-- status shows it as blocked. $1 tenant, $2 name, $3 why. What was known of its place stays.
-- Nothing is owed to it any more. Nothing is written where it is refused for that already.
-- The daemon calls it after each reading of the destinations query; a transaction of its own. Takes
-- the destination row's lock.
with refused as (
  insert into offtake.destination as d
         (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables, refused)
  values ($1, $2, '', '', 0, '', '', '{}', '{}', $3)
  on conflict (tenant_id, name) do update set active = true, refused = $3, updated_at = now()
   where not d.active or d.refused is distinct from excluded.refused
  returning destination_id
)
delete from offtake.outgoing_request r using refused where r.destination_id = refused.destination_id

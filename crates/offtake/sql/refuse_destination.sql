-- Registers a destination that cannot be used as the destinations query names it, so that the
-- status shows it as blocked. $1 tenant, $2 name, $3 why. Address and mappings that were known of it
-- stay; what was owed to it is deleted. Locks the destination's row.
with refused as (
  insert into offtake.destination as d
         (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables, refused)
  values ($1, $2, '', '', 0, '', '', '{}', '{}', $3)
  on conflict (tenant_id, name) do update set active = true, refused = $3, updated_at = now()
  returning destination_id
)
delete from offtake.outgoing_request r using refused where r.destination_id = refused.destination_id

-- Deactivates the destinations that configuration and query no longer name: all but those of the
-- tenants $1 text[] with the names $2 text[]. Nothing is owed to them any more; their rows stay where
-- they are. Reads every active destination.
-- The sync engine's registry calls it in a transaction under its lock.
with gone as (
  update offtake.destination d set active = false, updated_at = now()
   where d.active and not exists (select from unnest($1::text[], $2::text[]) named (tenant_id, name)
                                   where named.tenant_id = d.tenant_id and named.name = d.name)
  returning d.destination_id
)
delete from offtake.outgoing_request r using gone where r.destination_id = gone.destination_id

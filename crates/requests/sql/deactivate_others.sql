-- Deactivates the destinations that configuration and query no longer name: all but $1 bigint[], and
-- but those of the tenants $2 text[] with the names $3 text[], which are named in a way that cannot
-- be used. Nothing is owed to them any more; their rows stay where they are. Reads every active
-- destination.
-- The sync engine's registry calls it in the transaction that registers the others.
with gone as (
  update offtake.destination d set active = false, updated_at = now()
   where d.active and not exists (select from unnest($1::bigint[]) named (id) where named.id = d.destination_id)
     and not exists (select from unnest($2::text[], $3::text[]) unusable (tenant_id, name)
                      where unusable.tenant_id = d.tenant_id and unusable.name = d.name)
  returning d.destination_id
)
delete from offtake.outgoing_request r using gone where r.destination_id = gone.destination_id

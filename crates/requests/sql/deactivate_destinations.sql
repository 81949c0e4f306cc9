-- Deactivates destinations that configuration and query no longer name: $1 bigint[], but not those of
-- the tenants $2 text[] with the names $3 text[], which are named in a way that cannot be used.
-- Nothing is owed to them any more; their rows stay where they are.
-- The sync engine's registry calls it in the transaction that registers the others, after
-- hold_destinations.sql. Locks the requests in the order of their destinations, as the poller does.
with gone as (
  update offtake.destination d set active = false, updated_at = now()
   where d.destination_id = any($1) and d.active
     and not exists (select from unnest($2::text[], $3::text[]) unusable (tenant_id, name)
                      where unusable.tenant_id = d.tenant_id and unusable.name = d.name)
  returning d.destination_id
), owed as materialized (
  select r.request_id from offtake.outgoing_request r
   where r.kind = 'sync' and r.destination_id = any(array(select destination_id from gone))
   order by r.destination_id for update
)
delete from offtake.outgoing_request where request_id = any(array(select request_id from owed))

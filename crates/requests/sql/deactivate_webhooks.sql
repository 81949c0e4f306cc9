-- Deactivates the webhooks that configuration and query no longer name: all but $1 bigint[], and but
-- those of the tenants $2 text[] with the names $3 text[], which are named in a way that cannot be
-- used. Nothing is owed to them any more; their cursors stay for a while.
-- The registry of webhooks calls it in the transaction that registers the others.
with gone as (
  update offtake.webhook w set active = false, deactivated_at = now(), updated_at = now()
   where w.active and not exists (select from unnest($1::bigint[]) named (id) where named.id = w.webhook_id)
     and not exists (select from unnest($2::text[], $3::text[]) unusable (tenant_id, name)
                      where unusable.tenant_id = w.tenant_id and unusable.name = w.name)
  returning w.webhook_id
)
delete from offtake.outgoing_request r using gone where r.kind = 'webhook' and r.webhook_id = gone.webhook_id

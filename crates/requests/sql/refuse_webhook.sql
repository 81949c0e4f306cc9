-- Registers a webhook that the webhooks query names in a way that cannot be used, so that status
-- shows it as blocked. $1 tenant, $2 name, $3 why. Its cursors stay; nothing is owed to it any more.
-- Nothing is written where it is refused for that already. Returns whether it was written.
-- The daemon calls it after each reading of the webhooks query; a transaction of its own.
with held as materialized (
  -- First, as a turn's own statements do: in another order the two could deadlock.
  select r.request_id
    from offtake.outgoing_request r join offtake.webhook w using (webhook_id)
   where r.kind = 'webhook' and w.tenant_id = $1 and w.name = $2
     for update of r
), refused as (
  insert into offtake.webhook as w (tenant_id, name, host, port, mappings, source_tables, fingerprint, refused)
  select $1, $2, '', 0, '{}', '{}', '', $3 where (select count(*) from held) >= 0
  on conflict (tenant_id, name) do update set active = true, deactivated_at = null, refused = $3, updated_at = now()
   where not w.active or w.refused is distinct from excluded.refused
  returning webhook_id
), ended as (
  delete from offtake.outgoing_request r using refused where r.kind = 'webhook' and r.webhook_id = refused.webhook_id
)
select exists (select from refused) as refused

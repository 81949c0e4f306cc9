-- Writes what is known about some webhooks. $1 jsonb: an array of objects with the columns of `given`
-- below: mappings, source_tables, versions and needs are arrays of text, one for each mapping; refused
-- and incomplete are null or why; the tenant at the source is null where the source prints it as tenant_id. No webhook
-- is there twice. Nothing is written of those that have not changed.
-- A mapping that is new begins at the newest change; with backfill, a resync is told first and every
-- row behind it. A mapping that comes back may not have been captured meanwhile, so a resync is told.
-- So is one of all when the source's spelling of the tenant becomes another one. A webhook whose
-- endpoint is another one is neither disabled nor failing any more. Returns the ids, by tenant and
-- name, and whether the webhook was written.
-- The registry calls it in its transaction, under its lock, with up to a thousand webhooks, and
-- settle_webhooks.sql after it.
with given as materialized (
  select *
    from jsonb_to_recordset($1) as g (tenant_id text, name text, host text, port int, mappings text[], source_tables text[],
                                      versions text[], needs text[], fingerprint text, backfill boolean, refused text, incomplete text,
                                      source_tenant_id text)
), before as materialized (
  select w.webhook_id, w.tenant_id, w.name, w.mappings, w.source_tenant_id
    from given g join offtake.webhook w using (tenant_id, name)
), written as (
  insert into offtake.webhook as w (tenant_id, name, host, port, mappings, source_tables, fingerprint, refused, incomplete, source_tenant_id)
  select tenant_id, name, host, port, mappings, source_tables, fingerprint, refused, incomplete, source_tenant_id
    from given
   order by tenant_id, name
  on conflict (tenant_id, name) do update
     set host = excluded.host, port = excluded.port, mappings = excluded.mappings, source_tables = excluded.source_tables,
         fingerprint = excluded.fingerprint, refused = excluded.refused, incomplete = excluded.incomplete, source_tenant_id = excluded.source_tenant_id,
         active = true, deactivated_at = null, updated_at = now(),
         disabled_at = case when w.fingerprint = excluded.fingerprint then w.disabled_at end,
         disabled_reason = case when w.fingerprint = excluded.fingerprint then w.disabled_reason end,
         failing_since = case when w.fingerprint = excluded.fingerprint then w.failing_since end,
         consecutive_failures = case when w.fingerprint = excluded.fingerprint then w.consecutive_failures else 0 end,
         state = case when w.state = 'in_sync' or w.fingerprint <> excluded.fingerprint then 'lagging' else w.state end,
         reason = case when w.fingerprint = excluded.fingerprint then w.reason end
   where (w.host, w.port, w.mappings, w.source_tables, w.fingerprint, w.active)
         is distinct from (excluded.host, excluded.port, excluded.mappings, excluded.source_tables, excluded.fingerprint, true)
      or (w.refused, w.incomplete) is distinct from (excluded.refused, excluded.incomplete)
      or w.source_tenant_id is distinct from excluded.source_tenant_id
  returning w.webhook_id, w.tenant_id, w.name, w.source_tenant_id
), known as (
  select coalesce(w.webhook_id, b.webhook_id) as webhook_id, w.webhook_id is not null as written, g.*
    from given g
    left join before b using (tenant_id, name)
    left join written w using (tenant_id, name)
), begun as (
  insert into offtake.webhook_mapping as m (webhook_id, mapping, sequence_id, epoch, version, need, resync_reason, resync_sequence_id)
  select k.webhook_id, l.mapping, head.sequence_id, (select epoch_id::text from offtake.epoch order by started_at desc limit 1),
         l.version, l.need, case when k.backfill then 'asked' end, case when k.backfill then head.sequence_id end
    from known k
    cross join (select sequence_id from offtake.log_head) head
    cross join lateral unnest(k.mappings, k.versions, k.needs) l (mapping, version, need)
   where k.refused is null
   order by k.webhook_id, l.mapping
  on conflict (webhook_id, mapping) do update
     set resync_reason = coalesce(m.resync_reason, 'overlooked'), resync_sequence_id = excluded.sequence_id, need = excluded.need
   where exists (select from before b join written w using (webhook_id)
                  where b.webhook_id = m.webhook_id
                    and (m.mapping <> all(b.mappings) or b.source_tenant_id is distinct from w.source_tenant_id))
)
select webhook_id, tenant_id, name, written from known

-- Owes events to webhooks that are owed nothing and have something due: a resync or a backfill that
-- is not told yet, a mapping's retry, a quarantined event's next attempt, a replay; and to those of a
-- slice that are behind: a mapping without a cursor, a cursor below a change of the tenant. So a lost
-- request cannot stay lost. The slice begins after webhook $1 bigint and has at most $2 bigint
-- webhooks, or a 360th of all where that is more. Returns how many were owed something, and after
-- which webhook the next slice begins: null where this one was the last.
-- The changes without tenant of a table in fan_out are left out: their webhooks are being told.
-- The poller calls it every few seconds, in a transaction of its own, under its lock. Uses
-- webhook_mapping_unsettled, webhook_mapping_retry, quarantined_event_retry; probes change_log_tenant
-- once per webhook of the slice and source table.
with slice as materialized (
  select *
    from offtake.webhook
   where webhook_id > $1 and active and refused is null
   order by webhook_id
   limit greatest($2::bigint, (select reltuples::bigint / 360 from pg_catalog.pg_class where oid = 'offtake.webhook'::pg_catalog.regclass))
), due as (
  -- mapping: of a webhook that is not told of it any more, nothing is due.
  select webhook_id, mapping from offtake.webhook_mapping
   where (resync_reason is not null or not backfilled) and (retry_at is null or retry_at <= now())
  union all
  select webhook_id, mapping from offtake.webhook_mapping where retry_at <= now()
  union all
  select webhook_id, mapping from offtake.quarantined_event where next_attempt_at <= now()
  union all
  select webhook_id, mapping from offtake.webhook_replay
  union all
  select w.webhook_id, null
    from slice w
   where exists (select from unnest(w.mappings) m (name)
                   left join offtake.webhook_mapping s on s.webhook_id = w.webhook_id and s.mapping = m.name
                  where s.mapping is null)
      or exists (select from unnest(w.source_tables) t (name)
                 cross join coalesce(w.source_tenant_id, w.tenant_id) of (tenant_id)
                  where exists (select from (select l.tenant_id, l.source_table, l.sequence_id from offtake.change_log l
                                              where (l.tenant_id, l.source_table, l.sequence_id) > (of.tenant_id, t.name, w.sequence_id)
                                              order by l.tenant_id, l.source_table, l.sequence_id limit 1) next
                                 where next.tenant_id = of.tenant_id and next.source_table = t.name
                                   and next.sequence_id <= (select sequence_id from offtake.poller_position))
                     or (not exists (select from offtake.fan_out f where f.source_table = t.name)
                         and exists (select from offtake.change_log l
                                      where l.tenant_id is null and l.source_table = t.name and l.sequence_id > w.sequence_id
                                        and l.sequence_id <= (select sequence_id from offtake.poller_position))))
), owed as (
  insert into offtake.outgoing_request (kind, webhook_id, wanted_sequence_id)
  select distinct 'webhook', w.webhook_id, (select sequence_id from offtake.log_head)
    from due
   cross join lateral (select w.webhook_id from offtake.webhook w
                        where w.webhook_id = due.webhook_id and (due.mapping is null or due.mapping = any(w.mappings))
                          and w.active and w.refused is null and w.disabled_at is null
                       offset 0) w
   where not exists (select from offtake.outgoing_request r where r.kind = 'webhook' and r.webhook_id = w.webhook_id)
   order by w.webhook_id
  on conflict (webhook_id) where kind = 'webhook' do nothing
  returning 1
)
select (select count(*) from owed) as owed, (select max(webhook_id) from slice) as next

-- Everything that the state of a webhook is computed from, one row per active webhook, in one
-- snapshot. The placeholder `webhooks` says which: choose_named_webhooks.sql with its parameters, or
-- choose_unsettled_webhooks.sql, which has none. `with_mappings`, true or false: with the JSON of their
-- mappings. others: how many active webhooks there are beside these.
-- Per mapping one probe of change_log_tenant finds the newest change of its tenant, and one per table
-- the newest of every tenant's; only where that is beyond the cursor, the backlog is counted, up to
-- 100 001. Changes that concern every tenant count as one: the poller and a turn see how many keys
-- they are.
with blown as materialized (
  select name, reason from offtake.fuse where not enabled and (until is null or until > now())
), pending as materialized (
  select tenant_id, sum(coalesce(key_count, 1))::bigint as rows, count(*) as captures, min(captured_at) as oldest
    from (select tenant_id, captured_at, key_count from offtake.captured_change limit 100001) c
   group by tenant_id
), anyones as materialized (
  select coalesce(sum(rows) filter (where tenant_id is null), 0)::bigint as rows,
         min(oldest) filter (where tenant_id is null) as oldest,
         coalesce(sum(captures) > 100000, false) as more
    from pending
), chosen as materialized (
  select w.*, coalesce(source_tenant_id, tenant_id) as at_source
    from ({webhooks}) w
), wanted as materialized (
  select c.webhook_id, c.at_source, own.name as mapping, own.source_table, own.position, m.sequence_id, m.resync_reason,
         coalesce(m.backfilled, true) as backfilled, m.rows_done, m.backfill_started_at, m.error, m.retry_at,
         coalesce(m.failures, 0) as failures, f.name is not null as fuse_blown, f.reason as fuse_reason
    from chosen c
   cross join lateral unnest(c.mappings, c.source_tables) with ordinality own (name, source_table, position)
    left join offtake.webhook_mapping m on m.webhook_id = c.webhook_id and m.mapping = own.name
    left join blown f on f.name = 'mapping:' || own.name
), everyones as materialized (
  select t.source_table,
         (select l.sequence_id from offtake.change_log l
           where l.tenant_id is null and l.source_table = t.source_table order by l.sequence_id desc limit 1) as latest
    from (select distinct source_table from wanted) t
), behind as materialized (
  select w.*, greatest(own.latest, e.latest) as latest, coalesce(beyond.rows, 0) + coalesce(e.latest > w.sequence_id, false)::int as backlog,
         least(beyond.oldest_at, every.oldest_at) as oldest_at
    from wanted w
    left join everyones e on e.source_table = w.source_table
   cross join lateral (
         select (select l.sequence_id from offtake.change_log l
                  where (l.tenant_id, l.source_table, l.sequence_id) >= (w.at_source, w.source_table, 0)
                    and (l.tenant_id, l.source_table, l.sequence_id) <= (w.at_source, w.source_table, 9223372036854775807)
                  order by l.tenant_id desc, l.source_table desc, l.sequence_id desc limit 1) as latest
         offset 0) own
   cross join lateral (
         select least(coalesce(sum(least(coalesce(l.key_count, 1), l.sequence_id - w.sequence_id)), 0), 100001)::bigint as rows, min(l.captured_at) as oldest_at
           from (select sequence_id, captured_at, key_count from offtake.change_log
                  where own.latest > w.sequence_id and sequence_id > w.sequence_id
                    and (tenant_id, source_table, sequence_id) > (w.at_source, w.source_table, w.sequence_id)
                    and (tenant_id, source_table, sequence_id) <= (w.at_source, w.source_table, 9223372036854775807)
                  order by tenant_id, source_table, sequence_id limit 100001) l
         ) beyond
   cross join lateral (
         select (select captured_at from offtake.change_log
                  where e.latest > w.sequence_id and tenant_id is null and source_table = w.source_table and sequence_id > w.sequence_id
                  order by sequence_id limit 1) as oldest_at
         offset 0) every
), quarantined as materialized (
  select q.webhook_id, q.mapping, count(*) as events
    from offtake.quarantined_event q
    join wanted w on w.webhook_id = q.webhook_id and w.mapping = q.mapping
   group by 1, 2
)
select c.webhook_id, c.tenant_id, c.at_source, c.name, c.host, c.port, c.state, c.reason, c.refused, c.incomplete, c.delivered, c.failed,
       c.last_success_at, c.last_status, c.last_error, c.last_error_at, c.failing_since, c.consecutive_failures,
       c.disabled_at, c.disabled_reason, c.created_at, c.mappings as names,
       c.paused_at is not null and (c.paused_until is null or c.paused_until > now()) as paused, c.pause_reason, c.paused_until,
       coalesce(loops.name, whole.name, own.name) as fuse, coalesce(loops.reason, whole.reason, own.reason) as fuse_reason,
       r.wanted_sequence_id, r.not_before, r.owed_since, coalesce(r.failures, 0) as request_failures,
       coalesce(p.rows, 0) + a.rows as pending_rows, a.more as pending_uncounted, least(p.oldest, a.oldest) as oldest_pending_at,
       now() as read_at,
       (select coalesce(sum(webhooks), 0)::bigint from offtake.webhook_count) - (select count(*) from chosen) as others,
       coalesce(m.backlog, 0) as backlog, m.oldest_at, coalesce(m.quarantined, 0) as quarantined, m.lowest, coalesce(m.behind, false) as behind,
       m.backfilling, m.backfilling_since, m.failing, m.failing_reason, m.stopped, m.stopped_reason, coalesce(m.mappings, '[]') as mappings
  from chosen c
 cross join anyones a
  left join pending p on p.tenant_id = c.at_source
  left join blown loops on loops.name = 'webhooks'
  left join blown whole on whole.name = 'tenant:' || c.tenant_id
  left join blown own on own.name = 'webhook:' || c.tenant_id || '/' || c.name
  left join offtake.outgoing_request r on r.webhook_id = c.webhook_id and r.kind = 'webhook'
  left join (
       select b.webhook_id as of_webhook, sum(b.backlog)::bigint as backlog, min(b.oldest_at) as oldest_at, sum(q.events)::bigint as quarantined,
              min(b.sequence_id) as lowest,
              -- A mapping without a cursor, or with one that has not reached its newest change.
              coalesce(bool_or(b.sequence_id is null or b.latest > b.sequence_id), false) as behind,
              min(b.mapping) filter (where not b.backfilled or b.resync_reason is not null) as backfilling,
              min(b.backfill_started_at) filter (where not b.backfilled) as backfilling_since,
              min(b.mapping) filter (where not b.fuse_blown and (b.failures > 0 or b.error is not null)) as failing,
              min(b.mapping) filter (where b.fuse_blown) as stopped,
              case when {with_mappings} then coalesce(jsonb_agg(jsonb_build_object(
                'name', b.mapping, 'source_table', b.source_table, 'sequence_id', b.sequence_id::text, 'latest_sequence_id', b.latest::text,
                'backlog', b.backlog::text, 'backfilled', b.backfilled, 'resync_reason', b.resync_reason, 'rows_done', coalesce(b.rows_done, 0)::text,
                'quarantined', coalesce(q.events, 0)::text, 'error', b.error, 'retry_at', b.retry_at,
                'fuse_reason', b.fuse_reason) order by b.position), '[]') else '[]' end as mappings,
              -- The reasons of `failing` and `stopped`.
              (array_agg(b.error order by b.mapping) filter (where not b.fuse_blown and (b.failures > 0 or b.error is not null)))[1] as failing_reason,
              (array_agg(b.fuse_reason order by b.mapping) filter (where b.fuse_blown))[1] as stopped_reason
         from behind b
         left join quarantined q on q.webhook_id = b.webhook_id and q.mapping = b.mapping
        group by b.webhook_id
       ) m on m.of_webhook = c.webhook_id
 order by c.tenant_id, c.name

-- Everything that the state of a destination is computed from, one row per active destination. One
-- statement and so one snapshot: a change that moves from table to table meanwhile is seen in
-- exactly one of them.
-- $1 text: only this tenant's destinations. $2 text: only those with this name. Null matches all.
-- Per mapping one probe of change_log_tenant (tenant_id, source_table, sequence_id) finds the
-- newest change. Only where that is beyond the cursor, the backlog is counted, up to 100 001.
-- A mapping that the destination should have and has not is one of its mappings, with the reason.
-- source_tables[i] is the source table of mappings[i] where the two arrays are equally long;
-- otherwise every table counts for every mapping.
with pending as materialized (
  select tenant_id, count(*) as rows, min(captured_at) as oldest
    from (select tenant_id, captured_at from offtake.captured_change limit 100001) c
   group by tenant_id
), anyones as materialized (
  select coalesce(sum(rows) filter (where tenant_id is null), 0)::bigint as rows,
         min(oldest) filter (where tenant_id is null) as oldest,
         coalesce(sum(rows) > 100000, false) as more
    from pending
), blown as materialized (
  select name, reason from offtake.fuse where not enabled and (until is null or until > now())
)
select d.tenant_id, d.name, d.kind, d.schema_name, d.host, d.port, d.database_name, d.user_name, d.shared,
       d.state, d.reason, d.refused, d.last_success_at, d.last_error, d.last_error_at, d.consecutive_failures, d.created_at,
       d.paused_at is not null and (d.paused_until is null or d.paused_until > now()) as paused,
       d.pause_reason, d.paused_until,
       coalesce(own.name, whole.name) is not null as fuse_blown, coalesce(own.reason, whole.reason) as fuse_reason,
       r.wanted_sequence_id, r.not_before, r.owed_since, r.failures as request_failures,
       coalesce(p.rows, 0) + a.rows as pending_rows, a.more as pending_uncounted, least(p.oldest, a.oldest) as oldest_pending_at,
       now() as read_at,
       coalesce(m.mappings, '[]') as mappings
  from offtake.destination d
 cross join anyones a
  left join pending p on p.tenant_id = coalesce(d.source_tenant_id, d.tenant_id)
  left join blown own on own.name = 'destination:' || d.tenant_id || '/' || d.name
  left join blown whole on whole.name = 'tenant:' || d.tenant_id
  left join offtake.outgoing_request r on r.destination_id = d.destination_id and r.kind = 'sync'
 cross join lateral (
       select jsonb_agg(jsonb_build_object(
                'name', w.name, 'source_tables', to_jsonb(tables.names),
                'mirrored', s.mapping is not null, 'sequence_id', s.sequence_id, 'backfilled', coalesce(s.backfilled, false),
                'rows_done', s.rows_done, 'rows_total', s.rows_total,
                'backfill_started_at', s.backfill_started_at, 'backfill_finished_at', s.backfill_finished_at,
                'verified_at', s.verified_at, 'differences', s.differences, 'audit_error', s.audit_error,
                'error', s.error, 'retry_at', s.retry_at, 'failures', coalesce(s.failures, 0),
                'resync_requested_at', least((select min(q.requested_at) from offtake.resync_request q
                                               where q.destination_id = d.destination_id and q.mapping = w.name),
                                             (select o.overlooked_at from offtake.overlooked_mapping o where o.mapping = w.name)),
                'waits', waiting.reason, 'fuse_blown', f.name is not null, 'fuse_reason', f.reason,
                'quarantined', (select count(*) from offtake.quarantined_row q
                                 where q.destination_id = d.destination_id and q.mapping = w.name),
                'latest', log.latest, 'backlog', log.backlog, 'oldest_at', log.oldest_at) order by w.position) as mappings
         from (select * from unnest(d.mappings) with ordinality as own (name, position)
               union all
               select mapping, null from offtake.waiting_mapping
                where destination_id = d.destination_id and mapping <> all(d.mappings)) w
         left join offtake.waiting_mapping waiting on waiting.destination_id = d.destination_id and waiting.mapping = w.name
         left join offtake.destination_mapping s on s.destination_id = d.destination_id and s.mapping = w.name
         left join blown f on f.name = 'mapping:' || w.name
        cross join lateral (
              select case when w.position is null then '{}'
                          when cardinality(d.mappings) = cardinality(d.source_tables)
                          then array[d.source_tables[w.position]] else d.source_tables end as names) tables
        cross join lateral (
              select max(head.latest) as latest, coalesce(sum(behind.rows), 0) as backlog, min(behind.oldest_at) as oldest_at
                from unnest(tables.names) as t (name)
               cross join lateral (
                     select greatest(
                              (select l.sequence_id from offtake.change_log l
                                where l.tenant_id = coalesce(d.source_tenant_id, d.tenant_id) and l.source_table = t.name order by l.sequence_id desc limit 1),
                              (select l.sequence_id from offtake.change_log l
                                where l.tenant_id is null and l.source_table = t.name order by l.sequence_id desc limit 1)) as latest
                     offset 0) head
               cross join lateral (
                     -- The first condition is the same for all rows, so where it is false the log
                     -- is not read at all.
                     select count(*) as rows, min(l.captured_at) as oldest_at
                       from ((select captured_at from offtake.change_log
                               where head.latest > coalesce(s.sequence_id, 0)
                                 and tenant_id = coalesce(d.source_tenant_id, d.tenant_id) and source_table = t.name and sequence_id > coalesce(s.sequence_id, 0)
                               order by sequence_id limit 100001)
                             union all
                             (select captured_at from offtake.change_log
                               where head.latest > coalesce(s.sequence_id, 0)
                                 and tenant_id is null and source_table = t.name and sequence_id > coalesce(s.sequence_id, 0)
                               order by sequence_id limit 100001)) l
                     ) behind
              ) log
       ) m
 where d.active and ($1::text is null or d.tenant_id = $1) and ($2::text is null or d.name = $2)
 order by d.tenant_id, d.name

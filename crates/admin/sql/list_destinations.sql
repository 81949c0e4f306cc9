-- Everything that the state of a destination is computed from, one row per active destination. One
-- statement and so one snapshot: a change that moves from table to table meanwhile is seen in
-- exactly one of them. The placeholder says which destinations: choose_named.sql, with $1 text: only
-- this tenant's destinations; $2 text: only those with this name; $3, $4 text: only those after this
-- tenant and name (null matches all); $5 bigint: at most so many (null: all). Or
-- choose_unsettled.sql, without parameters.
-- Per mapping one probe of change_log_tenant (tenant_id, source_table, sequence_id) finds the
-- newest change of its tenant. Only where that is beyond the cursor, the backlog is counted, up to
-- 100 001. What concerns every tenant is read once per table, however many mappings have it: the
-- newest 100 001 such changes beyond the lowest cursor, counted for each cursor by one sort.
-- A mapping that the destination should have and has not is one of its mappings, with the reason.
-- source_tables[i] is the source table of mappings[i] where the two arrays are equally long;
-- otherwise every table counts for every mapping.
with chosen as materialized (
  {chosen}
), wanted as materialized (
  select d.destination_id, coalesce(d.source_tenant_id, d.tenant_id) as tenant_id, w.name, w.position,
         case when w.position is null then '{}'
              when cardinality(d.mappings) = cardinality(d.source_tables)
              then array[d.source_tables[w.position]] else d.source_tables end as tables,
         coalesce(s.sequence_id, 0) as cursor, s.mapping is not null as mirrored, s.sequence_id, coalesce(s.backfilled, false) as backfilled,
         s.rows_done, s.rows_total, s.backfill_started_at, s.verified_at, s.differences, s.audit_error, s.error, s.retry_at,
         coalesce(s.failures, 0) as failures
    from chosen d
   cross join lateral (
         select * from unnest(d.mappings) with ordinality as own (name, position)
          union all
         select mapping, null from offtake.waiting_mapping
          where destination_id = d.destination_id and mapping <> all(d.mappings)) w
    -- One probe for each: the planner takes the mappings for ten times as many, and would read the
    -- whole table.
    left join lateral (
         select * from offtake.destination_mapping where destination_id = d.destination_id and mapping = w.name offset 0) s on true
), cursors as materialized (
  select t.name as source_table, w.cursor from wanted w cross join lateral unnest(w.tables) as t (name) group by 1, 2
), everyones as materialized (
  -- The newest change of every tenant's per table.
  select t.source_table, t.lowest, head.latest
    from (select source_table, min(cursor) as lowest from cursors group by source_table) t
   cross join lateral (
         select (select l.sequence_id from offtake.change_log l
                  where l.tenant_id is null and l.source_table = t.source_table order by l.sequence_id desc limit 1) as latest
         offset 0) head
   where head.latest is not null
), everyones_log as materialized (
  select e.source_table, l.sequence_id, l.captured_at, l.key_count
    from everyones e
   cross join lateral (
         -- The first condition is the same for all rows, so where it is false the log is not read.
         select sequence_id, captured_at, key_count from offtake.change_log
          where e.latest > e.lowest and tenant_id is null and source_table = e.source_table and sequence_id > e.lowest
          order by sequence_id desc limit 100001) l
), everyones_behind as materialized (
  -- Per table and cursor: how many of them are beyond it, and since when the first of these waits.
  select source_table, sequence_id as cursor, rows,
         case when rows > 100000
              then least(oldest_at, (select l.captured_at from offtake.change_log l
                                      where l.tenant_id is null and l.source_table = m.source_table and l.sequence_id > m.sequence_id
                                      order by l.sequence_id limit 1))
              else oldest_at end as oldest_at
    from (select source_table, sequence_id, is_cursor,
                 least(coalesce(sum(coalesce(key_count, 1)) filter (where not is_cursor) over above, 0), 100001) as rows, min(captured_at) over above as oldest_at
            from (select source_table, sequence_id, captured_at, key_count, false as is_cursor from everyones_log
                   union all
                  select c.source_table, c.cursor, null, null, true from cursors c join everyones e using (source_table) where e.latest > c.cursor) both_kinds
          window above as (partition by source_table order by sequence_id desc, is_cursor desc rows between unbounded preceding and current row)
         ) m
   where is_cursor
), logs as materialized (
  -- Per mapping: the newest change that concerns it, how many are beyond its cursor, since when.
  select w.destination_id, w.name,
         max(greatest(head.latest, e.latest)) as latest,
         (sum(behind.rows) + coalesce(sum(b.rows), 0))::bigint as backlog,
         least(min(behind.oldest_at), min(b.oldest_at)) as oldest_at
    from wanted w
   cross join lateral unnest(w.tables) as t (name)
    left join everyones e on e.source_table = t.name
    left join everyones_behind b on b.source_table = t.name and b.cursor = w.cursor
   cross join lateral (
         select (select l.sequence_id from offtake.change_log l
                  where (l.tenant_id, l.source_table, l.sequence_id) >= (w.tenant_id, t.name, 0)
                    and (l.tenant_id, l.source_table, l.sequence_id) <= (w.tenant_id, t.name, 9223372036854775807)
                  order by l.tenant_id desc, l.source_table desc, l.sequence_id desc limit 1) as latest
         offset 0) head
   cross join lateral (
         select least(coalesce(sum(least(coalesce(l.key_count, 1), l.sequence_id - w.cursor)), 0), 100001)::bigint as rows, min(l.captured_at) as oldest_at
           from (select sequence_id, captured_at, key_count from offtake.change_log
                  where head.latest > w.cursor and sequence_id > w.cursor
                    and (tenant_id, source_table, sequence_id) > (w.tenant_id, t.name, w.cursor)
                    and (tenant_id, source_table, sequence_id) <= (w.tenant_id, t.name, 9223372036854775807)
                  order by tenant_id, source_table, sequence_id limit 100001) l
         ) behind
   group by w.destination_id, w.name
), pending as materialized (
  select tenant_id, sum(coalesce(key_count, 1))::bigint as rows, count(*) as captures, min(captured_at) as oldest
    from (select tenant_id, captured_at, key_count from offtake.captured_change limit 100001) c
   group by tenant_id
), anyones as materialized (
  select coalesce(sum(rows) filter (where tenant_id is null), 0)::bigint as rows,
         min(oldest) filter (where tenant_id is null) as oldest,
         coalesce(sum(captures) > 100000, false) as more
    from pending
), blown as materialized (
  select name, reason from offtake.fuse where not enabled and (until is null or until > now())
)
select d.tenant_id, d.name, d.mappings as registered_mappings, d.source_tables as registered_tables, d.kind, d.schema_name, d.host, d.port, d.database_name, d.user_name, d.shared,
       d.state, d.reason, d.refused, d.last_success_at, d.last_error, d.last_error_at, d.consecutive_failures, d.created_at,
       d.paused_at is not null and (d.paused_until is null or d.paused_until > now()) as paused,
       d.pause_reason, d.paused_until,
       coalesce(own.name, whole.name) is not null as fuse_blown, coalesce(own.reason, whole.reason) as fuse_reason,
       r.wanted_sequence_id, r.not_before, r.owed_since, r.failures as request_failures,
       coalesce(p.rows, 0) + a.rows as pending_rows, a.more as pending_uncounted, least(p.oldest, a.oldest) as oldest_pending_at,
       now() as read_at,
       coalesce(m.mappings, '[]') as mappings
  from chosen d
 cross join anyones a
  left join pending p on p.tenant_id = coalesce(d.source_tenant_id, d.tenant_id)
  left join blown own on own.name = 'destination:' || d.tenant_id || '/' || d.name
  left join blown whole on whole.name = 'tenant:' || d.tenant_id
  left join offtake.outgoing_request r on r.destination_id = d.destination_id and r.kind = 'sync'
  left join (
       -- As json: nothing reads it here, and the client is sent its text.
       select w.destination_id, json_agg(json_build_object(
                'name', w.name, 'source_tables', to_json(w.tables),
                'mirrored', w.mirrored, 'sequence_id', w.sequence_id, 'backfilled', w.backfilled,
                'rows_done', w.rows_done, 'rows_total', w.rows_total, 'backfill_started_at', w.backfill_started_at,
                'verified_at', w.verified_at, 'differences', w.differences, 'audit_error', w.audit_error,
                'error', w.error, 'retry_at', w.retry_at, 'failures', w.failures,
                'resync_requested_at', least((select min(q.requested_at) from offtake.resync_request q
                                               where q.destination_id = w.destination_id and q.mapping = w.name),
                                             (select o.overlooked_at from offtake.overlooked_mapping o where o.mapping = w.name)),
                'waits', waiting.reason, 'fuse_blown', f.name is not null, 'fuse_reason', f.reason,
                'quarantined', (select count(*) from offtake.quarantined_row q
                                 where q.destination_id = w.destination_id and q.mapping = w.name),
                'latest', log.latest, 'backlog', coalesce(log.backlog, 0), 'oldest_at', log.oldest_at) order by w.position) as mappings
         from wanted w
         left join logs log on log.destination_id = w.destination_id and log.name = w.name
         left join offtake.waiting_mapping waiting on waiting.destination_id = w.destination_id and waiting.mapping = w.name
         left join blown f on f.name = 'mapping:' || w.name
        group by w.destination_id
       ) m on m.destination_id = d.destination_id
 order by d.tenant_id, d.name

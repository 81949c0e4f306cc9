-- What there is to tell many webhooks, in the page's snapshot; see read_event_bounds.sql, which says the
-- same of one. $1 text[] tenants, $2 text[] source tables, $3 bigint[] the sequence ids after which to
-- read (one of each per webhook and mapping), $4 bigint: the changes where they are not more than this,
-- $5 bigint sequence ids per partition of the log. Per webhook and mapping, in the order given: changes:
-- how many there are, counted to $4::bigint + 1; keys: what read_event_bounds.sql calls changes, null
-- where they are more or none; whole_table: one of them stands for the whole table. Reads
-- change_log_tenant twice per webhook and mapping.
select (select sequence_id from offtake.log_head) as head,
       (select epoch_id::text from offtake.epoch order by started_at desc limit 1) as epoch,
       case when pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() then pg_current_wal_insert_lsn()::text end as unflushed,
       extract(epoch from clock.now)::float8 as now, to_char(clock.now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now_text,
       to_regclass('offtake.change_log_' || wanted.after / $5::bigint) is null as lost, page.changes, page.whole_table, page.keys,
       (extract(epoch from clock.now) - extract(epoch from page.oldest))::float8 as oldest_seconds
  from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality wanted (tenant_id, source_table, after, at)
 cross join (select clock_timestamp() as now offset 0) clock
 cross join lateral (
   select case when bool_or(key_count is not null) then $4::bigint + 1 else count(*) end as changes, min(captured_at) as oldest,
          bool_or(row_key is null and key_count is null) as whole_table,
          case when count(*) <= $4::bigint and not bool_or(key_count is not null)
               then (jsonb_agg(jsonb_build_object('s', sequence_id::text, 'k', row_key,
                                                  'c', to_char(captured_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
                               order by sequence_id))::text end as keys
     from (select sequence_id, row_key, captured_at, key_count from (
             (select sequence_id, row_key, captured_at, key_count from offtake.change_log
               where (tenant_id, source_table, sequence_id) > (wanted.tenant_id, wanted.source_table, wanted.after)
                 and (tenant_id, source_table, sequence_id) <= (wanted.tenant_id, wanted.source_table, 9223372036854775807)
                 and sequence_id > wanted.after
               order by tenant_id, source_table, sequence_id limit $4::bigint + 1)
             union all
             (select sequence_id, row_key, captured_at, key_count from offtake.change_log
               where tenant_id is null and source_table = wanted.source_table and sequence_id > wanted.after
               order by sequence_id limit $4::bigint + 1)) either
            order by sequence_id limit $4::bigint + 1) changes
 ) page
 order by wanted.at

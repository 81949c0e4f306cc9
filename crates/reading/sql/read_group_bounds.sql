-- What there is to read for many tenants that write to one place, in the batch's snapshot; see
-- read_bounds.sql, which says the same of one. $1 text[] tenants, $2 text[] source tables, $3
-- bigint[] the sequence ids after which to read (one of each per tenant and mapping), $4 bigint:
-- keys of at most so many changes, $5 bigint sequence ids per partition of the log. Per tenant and
-- mapping, in the order given: how many changes there are, counted to $4::bigint + 1; keys: their row keys,
-- a JSON array, null where they are more than $4 or none; a list of keys counts as more; whole_table, oldest_seconds, lost. Reads
-- change_log_tenant twice per tenant and mapping.
select (select sequence_id from offtake.log_head) as head,
       (select epoch_id::text from offtake.epoch order by started_at desc limit 1) as epoch,
       case when pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() then pg_current_wal_insert_lsn()::text end as unflushed,
       to_regclass('offtake.change_log_' || wanted.after / $5::bigint) is null as lost, page.changes, page.whole_table, page.keys,
       (extract(epoch from clock_timestamp()) - extract(epoch from page.oldest))::float8 as oldest_seconds
  from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality wanted (tenant_id, source_table, after, at)
 cross join lateral (
   select case when bool_or(key_count is not null) then $4::bigint + 1 else count(*) end as changes, min(captured_at) as oldest,
          bool_or(row_key is null and key_count is null) as whole_table,
          case when count(*) <= $4::bigint and not bool_or(key_count is not null) then (jsonb_agg(row_key) filter (where row_key is not null))::text end as keys
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

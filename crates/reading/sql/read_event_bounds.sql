-- What there is to tell a webhook of one tenant, in the page's snapshot. $1 tenant, $2 text[] source
-- tables, $3 bigint[] the sequence ids after which to read, $4 bigint[] those up to which to read, or
-- null (one of each per mapping), $5 bigint at most so many changes of each mapping, $6 bigint
-- sequence ids per partition of the log, $7 text[] the mappings, $8 bigint the webhook whose
-- quarantined events are read where they are due, or null. Per mapping, in the order given: lost, as
-- in read_bounds.sql; changes: a JSON array of its page, `s` the sequence id as text, `c` when the
-- change was captured, `k` the row key or null; due: the quarantined events, in the same form, at most
-- $5; oldest_seconds: how old the page's oldest change is. head, epoch, unflushed: see read_bounds.sql.
-- now: the source's clock, as seconds and as text. Of a list of keys,
-- which has at most 1000 and a tenant, each counts. Reads change_log_tenant up to three times per
-- mapping, the first rows by themselves, as read_bounds.sql does.
select (select sequence_id from offtake.log_head) as head,
       (select epoch_id::text from offtake.epoch order by started_at desc limit 1) as epoch,
       case when pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() then pg_current_wal_insert_lsn()::text end as unflushed,
       extract(epoch from clock.now)::float8 as now, to_char(clock.now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now_text,
       to_regclass('offtake.change_log_' || wanted.after / $6::bigint) is null as lost, page.changes, due.changes as due,
       (extract(epoch from clock.now) - extract(epoch from page.oldest))::float8 as oldest_seconds
  from (select source_table, after, mapping, at, least(coalesce(up_to, 9223372036854774807), 9223372036854774807) as last
          from unnest($2::text[], $3::bigint[], $4::bigint[], $7::text[]) with ordinality given (source_table, after, up_to, mapping, at)) wanted
 cross join (select clock_timestamp() as now offset 0) clock
 cross join lateral (
   with first as materialized (
     select sequence_id, row_key, captured_at, keys, key_count, key_column,
            case when key_count is null then 1 else least(key_count, sequence_id - wanted.after)::integer end as numbers
       from offtake.change_log
      where (tenant_id, source_table, sequence_id) > ($1, wanted.source_table, wanted.after)
        and (tenant_id, source_table, sequence_id) <= ($1, wanted.source_table, wanted.last + 1000)
        and sequence_id > wanted.after and sequence_id - coalesce(key_count, 1) < wanted.last
      order by tenant_id, source_table, sequence_id limit $5::bigint / 50 + 2
   ), rest as (
     select sequence_id, row_key, captured_at, keys, key_count, key_column, coalesce(key_count, 1) as numbers
       from offtake.change_log
      where (tenant_id, source_table, sequence_id) > ($1, wanted.source_table, (select max(sequence_id) from first))
        and (tenant_id, source_table, sequence_id) <= ($1, wanted.source_table, wanted.last + 1000)
        and sequence_id > (select max(sequence_id) from first) and sequence_id - coalesce(key_count, 1) < wanted.last
      order by tenant_id, source_table, sequence_id limit (select case when count(*) = $5::bigint / 50 + 2 and sum(numbers) < $5::bigint then $5::bigint else 0 end from first)
   )
   select min(captured_at) as oldest,
          (jsonb_agg(jsonb_build_object('s', sequence_id::text, 'k', row_key,
                                        'c', to_char(captured_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
                     order by sequence_id))::text as changes
     from (select key.sequence_id, key.row_key, logged.captured_at
             from (select *, sum(numbers) over (order by sequence_id rows unbounded preceding) as up_to_here
                     from (select * from first
                            union all
                           select * from rest
                            union all
                           (select sequence_id, row_key, captured_at, keys, key_count, key_column, 1 as numbers from offtake.change_log
                             where tenant_id is null and source_table = wanted.source_table and sequence_id > wanted.after
                               and sequence_id <= wanted.last
                             order by sequence_id limit $5)
                           order by sequence_id limit $5) numbered) logged
            cross join lateral (
                  select logged.sequence_id, logged.row_key where logged.key_count is null
                   union all
                  select k.sequence_id, k.row_key from offtake.keys_of(logged.sequence_id, logged.key_count, logged.keys, logged.key_column) k
                   where k.sequence_id > wanted.after and k.sequence_id <= wanted.last) key
            where logged.up_to_here - logged.numbers < $5
            order by key.sequence_id limit $5) changes
 ) page
 cross join lateral (
   select (jsonb_agg(jsonb_build_object('s', q.sequence_id::text, 'k', q.row_key,
                                        'c', to_char(q.captured_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
                     order by q.sequence_id))::text as changes
     from (select sequence_id, row_key, captured_at from offtake.quarantined_event
            where webhook_id = $8 and mapping = wanted.mapping and next_attempt_at <= now()
            order by next_attempt_at limit $5) q
 ) due
 order by wanted.at

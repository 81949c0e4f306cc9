-- What there is to read for one tenant, in the batch's snapshot. $1 tenant, $2 text[] source
-- tables, $3 bigint[] the sequence ids after which to read (one of each per mapping), $4 bigint at
-- most so many changes of each mapping, $5 bigint sequence ids per partition of the log, $6 bigint
-- see keys. Per mapping, in the order given: the last sequence id of its page (null: nothing), how
-- many changes the page has, the last change in it that stands for the whole table, and how old its
-- oldest change is; keys: the row keys of a page of at most $6 changes, a JSON array. lists: the page
-- has lists of keys, of which each key counts; it may end within one. lost: the partition of the log that the position is in was dropped, and with it
-- changes that were not read. to_regclass asks the catalog of now, not of the snapshot; the lock
-- that this statement takes on the log keeps the answer true until the batch ends. unflushed: where
-- the source's log ends, if not all of it is on disk. A commit under synchronous_commit = off is
-- visible before it is durable, and a row is read as it is now, which may be younger than its
-- change: see durable.rs. head: the highest sequence id visible in this snapshot;
-- everything below it is visible too, because numbers are given after commit, one transaction at a
-- time. Reads change_log_tenant up to three times per mapping, from one place of that index to
-- another: where one tenant has most of the log, a server that is asked for another tenant's first
-- changes reads all changes in their order, and leaves out those of others. The first rows are read
-- by themselves: a limit of rows that a few lists never reach would be looked for in all of the log.
-- Lists have a tenant.
select (select sequence_id from offtake.log_head) as head,
       (select epoch_id::text from offtake.epoch order by started_at desc limit 1) as epoch,
       case when pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() then pg_current_wal_insert_lsn()::text end as unflushed,
       to_regclass('offtake.change_log_' || wanted.after / $5::bigint) is null as lost, wanted.at::bigint as at, page.up_to, page.changes, page.whole_table, page.keys, page.lists,
       (extract(epoch from clock_timestamp()) - extract(epoch from page.oldest))::float8 as oldest_seconds
  from unnest($2::text[], $3::bigint[]) with ordinality wanted (source_table, after, at)
 cross join lateral (
   with first as materialized (
     select sequence_id, row_key, captured_at, key_count, case when key_count is null then 1 else least(key_count, sequence_id - wanted.after)::integer end as numbers
       from offtake.change_log
      where (tenant_id, source_table, sequence_id) > ($1, wanted.source_table, wanted.after)
        and (tenant_id, source_table, sequence_id) <= ($1, wanted.source_table, 9223372036854775807)
        and sequence_id > wanted.after
      order by tenant_id, source_table, sequence_id limit $4::bigint / 50 + 2
   ), rest as (
     select sequence_id, row_key, captured_at, key_count, coalesce(key_count, 1) as numbers
       from offtake.change_log
      where (tenant_id, source_table, sequence_id) > ($1, wanted.source_table, (select max(sequence_id) from first))
        and (tenant_id, source_table, sequence_id) <= ($1, wanted.source_table, 9223372036854775807)
        and sequence_id > (select max(sequence_id) from first)
      order by tenant_id, source_table, sequence_id limit (select case when count(*) = $4::bigint / 50 + 2 and sum(numbers) < $4::bigint then $4::bigint else 0 end from first)
   )
   select max(sequence_id - greatest(up_to_here - $4::bigint, 0)) as up_to, least(coalesce(max(up_to_here), 0), $4::bigint) as changes,
          min(captured_at) as oldest, max(sequence_id) filter (where row_key is null and key_count is null) as whole_table,
          coalesce(bool_or(key_count is not null), false) as lists,
          case when count(*) <= $6 and not bool_or(key_count is not null)
               then (jsonb_agg(row_key) filter (where row_key is not null))::text end as keys
     from (select *, sum(numbers) over (order by sequence_id rows unbounded preceding) as up_to_here
             from (select * from first
                    union all
                   select * from rest
                    union all
                   (select sequence_id, row_key, captured_at, key_count, 1 as numbers from offtake.change_log
                     where tenant_id is null and source_table = wanted.source_table and sequence_id > wanted.after
                     order by sequence_id limit $4::bigint)
                   order by sequence_id limit $4::bigint) page) changes
    where up_to_here - numbers < $4::bigint
 ) page
 order by wanted.at

-- Moves the oldest captured changes into the log, numbered in capture order beyond global_sequence.
-- $1 bigint: how many keys; a list of keys is taken whole, so the last one may exceed this by less
-- than its length. The tick appends a list of more than 50 keys to the log as it is, and gives it as
-- many numbers as it has keys. It appends the keys of a shorter list one by one, because the statements
-- that read for several tenants at once read single keys only. $2 text[]: tables whose rows' tenant is looked up after commit; their changes
-- that have the columns to look it up by are taken and returned, and not numbered here. Those
-- without are another mapping's, whose tenant is an expression that failed: they concern every
-- tenant. $3 bigint: only beyond this capture id. That
-- spares the index the entries of rows that an earlier tick took and vacuum has not removed yet.
-- Returns one row for each taken change that is not done yet: it wakes another mapping, waits for
-- its tenant, stands for a whole table, or continues an expansion. Every row repeats the tick's
-- counts: taken (keys of lists, and other rows), appended (numbered here), and up_to, the highest
-- capture id taken (null: nothing was taken). With no such change, one row has the counts, and its
-- capture_id is null. Takes nothing unless try_lock.sql noted that this transaction holds the
-- sequencer's lock: without it another tick could give the same numbers. Reads through the primary
-- key of captured_change.
with oldest as materialized (
  select ctid as place, coalesce(key_count, 1) as keys,
         sum(coalesce(key_count, 1)) over (order by capture_id rows unbounded preceding) as up_to_here
    from (select ctid, capture_id, key_count from offtake.captured_change where capture_id > $3 and current_setting('offtake.lock', true) = 'held' order by capture_id limit $1) first
), taken as (
  delete from offtake.captured_change
   where ctid = any(array(select place from oldest where up_to_here - keys < $1))
  returning capture_id, source_table, operation, tenant_id, row_key, matched, resume, captured_at, keys, key_count, key_column, keys_deleted
), changed as (
  select capture_id, 0 as position, source_table, tenant_id, row_key, operation = 'd' as deleted, captured_at,
         null::text[] as keys, null::integer as key_count, null::text as key_column
    from taken
   where operation in ('c', 'd') and row_key is not null
     and not (tenant_id is null and matched is not null and source_table = any($2))
  union all
  select capture_id, position, source_table, tenant_id,
         case when key_column is null then key::jsonb else jsonb_object(array[key_column, key]) end, keys_deleted, captured_at, null, null, null
    from taken cross join unnest(keys) with ordinality listed (key, position)
   where key_count <= 50
  union all
  select capture_id, 0, source_table, tenant_id, null, keys_deleted, captured_at, keys, key_count, key_column
    from taken
   where key_count > 50
), appended as (
  insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at, keys, key_count, key_column)
  select (select last_value from offtake.global_sequence)
         + sum(coalesce(key_count, 1)) over (order by capture_id, position rows unbounded preceding),
         source_table, tenant_id, row_key, deleted, captured_at, keys, key_count, key_column
    from changed
  returning sequence_id, key_count
), numbered as (
  select sum(coalesce(key_count, 1)) as rows, setval('offtake.global_sequence', max(sequence_id)) from appended having count(*) > 0
), counted as materialized (
  select coalesce(sum(coalesce(key_count, 1)), 0)::bigint as taken, coalesce((select rows from numbered), 0) as appended,
         max(capture_id) as up_to
    from taken
)
select counted.taken, counted.appended, counted.up_to,
       open.capture_id, open.source_table, open.operation, open.row_key, open.matched, open.resume, open.captured_at,
       open.tenant_id is null and open.row_key is not null and open.source_table = any($2) as unresolved
  from counted
  left join taken open on open.matched is not null or (open.operation in ('t', 'r') and open.keys is null)

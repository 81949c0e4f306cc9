-- How many changes were numbered after sequence id $1 bigint (null: nothing is counted), up to
-- which one, and over how many seconds if that is not all of them: only the newest 100 000 are
-- counted. Sequence ids have gaps, and a new partition of the log skips up to ten million of them,
-- so their difference is no count. Reads the log's primary key from its end.
with after as (
  select coalesce($1, (select sequence_id from offtake.log_head)) as sequence_id
)
select coalesce(sum(coalesce(key_count, 1)), 0)::bigint as rows,
       coalesce(max(sequence_id), (select sequence_id from after)) as up_to,
       case when count(*) = 100000 then greatest(extract(epoch from clock_timestamp() - min(sequenced_at)), 0.001)::float8 end as seconds
  from (select sequence_id, sequenced_at, key_count from offtake.change_log
         where sequence_id > (select sequence_id from after) order by sequence_id desc limit 100000) newest

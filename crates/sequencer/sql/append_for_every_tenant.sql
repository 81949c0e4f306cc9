-- Appends changes whose tenant is unknown because the look-up itself failed. Without a tenant, a
-- change makes every tenant look at the key again. $1 source table, $2 bigint[] capture ids, $3
-- timestamptz[] captured_at, $4 jsonb[] row keys, $5 boolean[] deleted. Runs under the sequencer's
-- lock.
with appended as (
  insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
  select (select last_value from offtake.global_sequence) + row_number() over (order by capture_id), $1, null, row_key, deleted, captured_at
    from unnest($2::bigint[], $3::timestamptz[], $4::jsonb[], $5::boolean[]) given (capture_id, captured_at, row_key, deleted)
  returning sequence_id
)
select count(*) as appended, setval('offtake.global_sequence', max(sequence_id)) from appended having count(*) > 0

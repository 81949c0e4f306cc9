-- Appends a change without tenant and key for each table of $1 text[]: every mapping of the table
-- is then re-copied. $2 timestamptz: when the change was captured. Runs under the sequencer's lock.
with appended as (
  insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
  select (select last_value from offtake.global_sequence) + row_number() over (), source_table, null, null, false, $2
    from unnest($1::text[]) source_table
  returning sequence_id
)
select count(*) as appended, setval('offtake.global_sequence', max(sequence_id)) from appended having count(*) > 0

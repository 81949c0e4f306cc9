-- Moves the oldest captured changes into the log, numbered in capture order beyond global_sequence.
-- $1 bigint: how many at most; $2 text[]: tables whose tenant is looked up after commit (their rows
-- are only returned); $3 bigint: only beyond this capture id, which spares the index the entries of
-- rows that were taken before and not yet vacuumed. First row returned: operation 'n', with the
-- number taken in capture_id, the number appended in appended, and the highest capture id taken in
-- up_to. Then every taken row that wakes something else, waits for its tenant, stands for a whole
-- table, or continues an expansion. Needs the sequencer's lock: it is what makes last_value ours.
-- Reads through the primary key of captured_change.
with taken as (
  delete from offtake.captured_change
   where ctid = any(array(select ctid from offtake.captured_change where capture_id > $3 order by capture_id limit $1))
  returning capture_id, source_table, operation, tenant_id, row_key, matched, resume, captured_at
), appended as (
  insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
  select (select last_value from offtake.global_sequence) + row_number() over (order by capture_id),
         source_table, tenant_id, row_key, operation = 'd', captured_at
    from taken
   where operation in ('c', 'd') and row_key is not null
     and not (tenant_id is null and source_table = any($2))
  returning sequence_id
), numbered as (
  select count(*) as rows, setval('offtake.global_sequence', max(sequence_id)) from appended having count(*) > 0
)
select (select count(*) from taken) as capture_id, null::text as source_table, 'n'::"char" as operation, null::jsonb as row_key,
       null::jsonb as matched, null::jsonb as resume, now() as captured_at, false as unresolved,
       coalesce((select rows from numbered), 0) as appended, (select max(capture_id) from taken) as up_to
union all
select capture_id, source_table, operation, row_key, matched, resume, captured_at,
       tenant_id is null and row_key is not null and source_table = any($2), 0, null
  from taken
 where matched is not null or operation in ('t', 'r')

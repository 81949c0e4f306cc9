-- Goes on in the log's next partition when the current one ({current}) has been written to for
-- longer than $1 bigint milliseconds, so that retention can drop by age: numbers may have gaps, so
-- the sequence jumps. The poller's position goes with it, if it had seen everything: then cursors
-- can leave the old partition even when nothing changes any more. Under the sequencer's lock.
-- {next} is the next partition's first sequence id. Returns whether it rolled.
with old as (
  select from (select sequenced_at from offtake.change_log_{current} order by sequence_id limit 1) oldest
   where sequenced_at < now() - $1::bigint * interval '1 millisecond'
), seen as (
  update offtake.poller_position set sequence_id = {next}
   where exists (select from old) and sequence_id >= coalesce((select max(sequence_id) from offtake.change_log), 0)
  returning 1
)
select setval('offtake.global_sequence', {next}) from seen

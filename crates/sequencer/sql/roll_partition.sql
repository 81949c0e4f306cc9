-- Moves on to the log's next partition if the current one ({current}) has been written to for
-- longer than $1 bigint milliseconds; otherwise retention could not drop partitions by age. The
-- sequence jumps to {next}, the next partition's first sequence id; numbers may have gaps. It moves
-- only if the poller has seen everything, and moves the poller's position too: then cursors can
-- leave the old partition even if nothing changes any more. Runs under the sequencer's lock.
-- Returns a row if it moved.
with old as (
  select from (select sequenced_at from offtake.change_log_{current} order by sequence_id limit 1) oldest
   where sequenced_at < now() - $1::bigint * interval '1 millisecond'
), seen as (
  update offtake.poller_position set sequence_id = {next}
   where exists (select from old) and sequence_id >= coalesce((select max(sequence_id) from offtake.change_log), 0)
  returning 1
)
select setval('offtake.global_sequence', {next}) from seen

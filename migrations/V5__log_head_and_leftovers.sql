-- Gives the head of the log one name, and removes what nothing ever wrote. Daemons of the version
-- before this one may go on running: they neither read nor write any of it.

-- A view, and no function: the planner puts a view's query in place of the view, so that a
-- statement costs what it would cost with the expression written out. A scalar SQL function with a
-- sub-select is not inlined. It plans its query again in every statement that calls it: 1.05 ms
-- instead of 0.21 ms (four partitions, Postgres 15, two cores, November 2026).
create view offtake.log_head as
  select greatest((select max(sequence_id) from offtake.change_log),
                  (select sequence_id from offtake.poller_position), 0) as sequence_id;
comment on view offtake.log_head is
  'One row: the highest sequence id of the committed changes that this snapshot shows; 0 before '
  'the first. The poller''s position counts too: retention may have emptied the log.';

-- A copy keeps its checkpoint in the destination and its progress in offtake.destination_mapping.
drop table offtake.job_chunk;
drop table offtake.job;

-- No state needs_rebuild: a copy that must begin again is re-copied in place at once, and the
-- destination shows backfilling meanwhile.
alter table offtake.destination
  drop constraint destination_state_check,
  add constraint destination_state_check
      check (state in ('in_sync', 'lagging', 'backfilling', 'degraded', 'blocked', 'paused'));

-- Removes what nothing ever wrote. Daemons of the version before this one may go on running: they
-- neither read nor write any of it.

-- A copy keeps its checkpoint in the destination and its progress in offtake.destination_mapping.
drop table offtake.job_chunk;
drop table offtake.job;

-- No state needs_rebuild: a copy that must begin again is re-copied in place at once, and the
-- destination shows backfilling meanwhile.
alter table offtake.destination
  drop constraint destination_state_check,
  add constraint destination_state_check
      check (state in ('in_sync', 'lagging', 'backfilling', 'degraded', 'blocked', 'paused'));

-- Adds a partition of the log. A partition holds a block of 10 000 000 sequence ids. The table is
-- created on its own and then attached: the lock for attaching lets readers and writers of the log
-- go on; the lock of CREATE TABLE (PARTITION OF) does not. The sequencer fills in {partition}, the
-- block's number, and {from} and {to}, its first sequence id and the next block's.
create table offtake.change_log_{partition} (
  like offtake.change_log including defaults including storage including indexes,
  constraint change_log_range check (sequence_id >= {from} and sequence_id < {to})
);
alter table offtake.change_log attach partition offtake.change_log_{partition} for values from ({from}) to ({to});
alter table offtake.change_log_{partition} drop constraint change_log_range

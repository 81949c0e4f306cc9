-- Adds the log's partition $1, counted in blocks of 10 000 000 sequence ids, made apart and then
-- attached: attaching takes a lock that lets readers and writers of the log go on, where CREATE
-- TABLE … PARTITION OF does not. Placeholders {partition}, {from}, {to} are numbers filled in by
-- the sequencer.
create table offtake.change_log_{partition} (
  like offtake.change_log including defaults including indexes,
  constraint change_log_range check (sequence_id >= {from} and sequence_id < {to})
);
alter table offtake.change_log attach partition offtake.change_log_{partition} for values from ({from}) to ({to});
alter table offtake.change_log_{partition} drop constraint change_log_range

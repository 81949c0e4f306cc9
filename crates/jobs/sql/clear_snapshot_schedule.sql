-- Daemons make no snapshots by themselves any more. No parameters.
delete from offtake.snapshot_schedule

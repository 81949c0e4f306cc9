-- Whether a snapshot of some tenant is due. No parameters. Reads one entry of snapshot_schedule_next.
select exists (select from offtake.snapshot_schedule where next_at <= now()) as due

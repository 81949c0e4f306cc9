-- Whether a snapshot of some tenant is due. No parameters. Reads the first entry of snapshot_schedule_next; ordered,
-- so that it does so without statistics too.
select coalesce((select next_at from offtake.snapshot_schedule order by next_at limit 1) <= now(), false) as due

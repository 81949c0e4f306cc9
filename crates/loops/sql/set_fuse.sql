-- Blows or heals the fuse $1: $2 enabled, $3 reason, $4 seconds until it heals by itself (null:
-- only by command). Uses the primary key of offtake.fuse; locks the one row.
insert into offtake.fuse (name, enabled, reason, until)
values ($1, $2, $3, now() + make_interval(secs => $4))
    on conflict (name) do update
   set enabled = excluded.enabled, reason = excluded.reason, until = excluded.until, changed_at = now()

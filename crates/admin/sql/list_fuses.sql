-- The fuses of the loops, and every other fuse that was ever switched. A blown fuse whose
-- time is over counts as enabled. No parameters.
select f.name, not b.blown as enabled,
       case when b.blown then f.reason end as reason,
       case when b.blown then f.until end as until
  from (select coalesce(f.name, l.name) as name, l.position, f.enabled, f.reason, f.until
          from (values (1, 'sequencer'), (2, 'poller'), (3, 'sync'), (4, 'webhooks'), (5, 'exports'),
               (6, 'snapshots')) as l (position, name)
          full join offtake.fuse f on f.name = l.name) f
 cross join lateral (select coalesce(not f.enabled and (f.until is null or f.until > now()), false) as blown) b
 order by f.position nulls last, f.name

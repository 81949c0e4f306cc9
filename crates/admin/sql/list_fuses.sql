-- The fuses of the three loops, and every other that was ever touched. One whose time is over runs again.
select coalesce(f.name, l.name) as name,
       coalesce(f.enabled or f.until <= now(), true) as enabled,
       case when not (f.enabled or coalesce(f.until <= now(), false)) then f.reason end as reason,
       case when not (f.enabled or coalesce(f.until <= now(), false)) then f.until end as until
  from (values (1, 'sequencer'), (2, 'poller'), (3, 'sync')) as l (position, name)
  full join offtake.fuse f on f.name = l.name
 order by l.position nulls last, 1

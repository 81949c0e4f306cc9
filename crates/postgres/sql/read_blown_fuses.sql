-- The fuses that are blown, and which of them should have healed by now. A handful of rows: a sequential scan.
select name, coalesce(reason, '') as reason, coalesce(until <= now(), false) as expired
  from offtake.fuse
 where not enabled

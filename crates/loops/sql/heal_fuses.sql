-- Heals the fuses whose time has passed. Row locks only; two replicas at once heal each fuse once.
update offtake.fuse
   set enabled = true, reason = null, until = null, changed_at = now()
 where not enabled and until <= now()

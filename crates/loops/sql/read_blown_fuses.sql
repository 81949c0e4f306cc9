-- The fuses that are blown, and which of them should have healed by now. A handful of rows: a
-- sequential scan. A pause counts as its destination's fuse; read through destination_paused.
select name, coalesce(reason, '') as reason, coalesce(until <= now(), false) as expired
  from offtake.fuse
 where not enabled
union all
select 'destination:' || tenant_id || '/' || name, 'paused', false
  from offtake.destination
 where paused_at is not null and (paused_until is null or paused_until > now())

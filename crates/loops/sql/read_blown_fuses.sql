-- The fuses that are blown, and which of them should have healed by now. A handful of rows: a
-- sequential scan. A pause counts as the fuse of its destination or
-- webhook; read through destination_paused and webhook_paused.
select name, coalesce(reason, '') as reason, coalesce(until <= now(), false) as expired
  from offtake.fuse
 where not enabled
union all
select 'destination:' || tenant_id || '/' || name, 'paused', false
  from offtake.destination
 where paused_at is not null and (paused_until is null or paused_until > now())
union all
select 'webhook:' || tenant_id || '/' || name, 'paused', false
  from offtake.webhook
 where paused_at is not null and (paused_until is null or paused_until > now())

-- Nothing more is sent to a webhook until it is enabled. $1 webhook, $2 why. What it is owed stays
-- owed, and a worker that has its request loses the lease: it must send nothing more. Returns whether
-- it was enabled before.
-- The webhooks engine calls it where the receiver says so, the admin side where an operator does; a
-- transaction of its own.
with held as materialized (
  -- First, as a turn's own statements do: in another order the two could deadlock.
  select request_id from offtake.outgoing_request where kind = 'webhook' and webhook_id = $1 for update
), disabled as (
  update offtake.webhook
     set disabled_at = now(), disabled_reason = $2, state = 'disabled', reason = $2, updated_at = now()
   where (select count(*) from held) >= 0 and webhook_id = $1 and disabled_at is null
  returning webhook_id
), ended as (
  update offtake.outgoing_request r
     set attempt = r.attempt + 1, leased_until = null, leased_by = null
    from disabled where r.kind = 'webhook' and r.webhook_id = disabled.webhook_id
)
select exists (select from disabled) as disabled

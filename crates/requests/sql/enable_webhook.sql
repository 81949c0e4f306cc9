-- A disabled or failing webhook goes on at its cursor, at once. $1 webhook. Returns the sequence id of
-- the newest change.
-- The admin side calls it; a transaction of its own.
with held as materialized (
  -- First, as a turn's own statements do: in another order the two could deadlock.
  select request_id from offtake.outgoing_request where kind = 'webhook' and webhook_id = $1 for update
), enabled as (
  update offtake.webhook
     set disabled_at = null, disabled_reason = null, failing_since = null, consecutive_failures = 0,
         state = 'lagging', reason = null, updated_at = now()
   where (select count(*) from held) >= 0 and webhook_id = $1
  returning webhook_id, active and refused is null as usable
), head as (
  select sequence_id as head from offtake.log_head
), owed as (
  insert into offtake.outgoing_request as r (kind, webhook_id, wanted_sequence_id)
  select 'webhook', webhook_id, head from enabled, head where usable
  on conflict (webhook_id) where kind = 'webhook' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id), failures = 0, last_error = null,
         not_before = case when r.leased_until is null then now() else r.not_before end
)
select head from head

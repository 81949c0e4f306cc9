-- Owes webhooks ($1 bigint[]) events up to the newest change, due now, also where the webhook is in
-- backoff or a mapping waits for its own retry: they are new, or others than before. As
-- owe_registered.sql for destinations; see there for leases and for the poller's fuse. Returns that
-- change's sequence id.
-- The registry of webhooks calls it in the transaction that registers them, and the admin side when
-- an operator asks, in a transaction of its own.
with stopped as (
  select exists (select from offtake.fuse where name = 'poller' and not enabled and (until is null or until > now())) as stopped
), head as (
  select sequence_id as head from offtake.log_head
), again as (
  update offtake.webhook_mapping set retry_at = case when stopped then now() end
    from stopped where webhook_id = any($1) and (stopped or retry_at > now())
), owed as (
  insert into offtake.outgoing_request as r (kind, webhook_id, wanted_sequence_id)
  select 'webhook', w.webhook_id, head
    from offtake.webhook w, head, stopped
   where w.webhook_id = any($1) and w.active and w.refused is null and not stopped
   order by w.webhook_id
  on conflict (webhook_id) where kind = 'webhook' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id),
         failures = case when r.leased_until is null then 0 else r.failures end,
         not_before = case when r.leased_until is null then now() else r.not_before end
)
select head from head

-- An operator asks that a webhook be told a resync: $1 webhook, $2 the mapping, null: all of its
-- mappings. A worker that has the webhook at the moment read its claim before this; it loses the
-- lease here, and what it was sending is sent again behind the resync. A resync that is owed already
-- keeps its reason. The ids are new, as after a replay: otherwise a receiver that knows the ids of the
-- last resync would drop this one. Returns the mappings.
-- The admin side calls it; a transaction of its own, so that the resyncs and the events they need are
-- asked for together.
with held as materialized (
  -- First, as a turn's own statements do: in another order the two could deadlock.
  select request_id from offtake.outgoing_request where kind = 'webhook' and webhook_id = $1 for update
), asked as (
  update offtake.webhook_mapping m
     set resync_reason = coalesce(m.resync_reason, 'asked'), retry_at = null,
         resync_sequence_id = (select sequence_id from offtake.log_head), updated_at = now()
    from offtake.webhook w
   where (select count(*) from held) >= 0 and w.webhook_id = $1 and m.webhook_id = w.webhook_id and m.mapping = any(w.mappings) and ($2::text is null or m.mapping = $2)
  returning m.mapping
), renewed as (
  update offtake.webhook set generation = generation + 1, updated_at = now()
   where webhook_id = $1 and exists (select from asked)
), owed as (
  insert into offtake.outgoing_request as r (kind, webhook_id, wanted_sequence_id)
  select 'webhook', w.webhook_id, (select sequence_id from offtake.log_head)
    from offtake.webhook w
   where w.webhook_id = $1 and w.active and w.refused is null and exists (select from asked)
  on conflict (webhook_id) where kind = 'webhook' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id), not_before = now(),
         attempt = r.attempt + 1, leased_until = null, leased_by = null
)
select mapping from asked order by mapping

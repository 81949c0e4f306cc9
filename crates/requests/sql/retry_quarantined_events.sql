-- An operator asks that quarantined events be tried again now: of tenant $1, webhook $2, mapping $3
-- (null: any), as far as their mappings are still the webhooks'. Those that were exhausted have all
-- their attempts again. Returns how many events.
-- The admin side calls it; a transaction of its own, so that the events are due and their webhooks are
-- owed a turn together. A worker that has one of the webhooks at the moment may have read the due
-- events before this; it loses the lease here.
with held as materialized (
  -- First, as a turn's own statements do: in another order the two could deadlock.
  select r.request_id
    from offtake.outgoing_request r join offtake.webhook w using (webhook_id)
   where r.kind = 'webhook' and ($1::text is null or w.tenant_id = $1) and ($2::text is null or w.name = $2)
   order by r.webhook_id
     for update of r
), due as (
  update offtake.quarantined_event q
     set next_attempt_at = now(), attempts = case when q.next_attempt_at is null then 1 else q.attempts end
    from offtake.webhook w
   where (select count(*) from held) >= 0 and w.webhook_id = q.webhook_id and w.active
     and q.mapping = any(w.mappings)
     and ($1::text is null or w.tenant_id = $1) and ($2::text is null or w.name = $2) and ($3::text is null or q.mapping = $3)
  returning q.webhook_id
), owed as (
  insert into offtake.outgoing_request as r (kind, webhook_id, wanted_sequence_id)
  select distinct 'webhook', webhook_id, (select sequence_id from offtake.log_head) from due order by webhook_id
  on conflict (webhook_id) where kind = 'webhook' do update
     set not_before = now(), attempt = r.attempt + 1, leased_until = null, leased_by = null
)
select count(*) as events from due

-- How far many turns were that have told everything, and of which nothing else is to be recorded: no
-- event was refused, no request failed, no resync was told. $1 bigint[] requests, $2 bigint[] their
-- attempts, $3 jsonb[] the mappings that each was told of (an array of texts), $4 bigint[] the sequence
-- ids that all of these have reached, $5 bigint[] how many events were acknowledged, $6 int[] the last
-- status or null. Only where the attempt is still ours; no other worker can claim meanwhile. A resync
-- that was asked for meanwhile stays owed. Returns the requests that are ours.
-- The webhooks engine calls it in one transaction with the end of the requests. Locks the requests in
-- the order of their webhooks, as the registry does, and the webhooks after them.
with mine as materialized (
  select r.request_id, r.webhook_id, done.mappings, done.reached, done.delivered, done.status
    from unnest($1::bigint[], $2::bigint[], $3::jsonb[], $4::bigint[], $5::bigint[], $6::int[])
         done (request_id, attempt, mappings, reached, delivered, status)
    join offtake.outgoing_request r using (request_id)
   where r.attempt = done.attempt and r.request_id = any($1::bigint[])
   order by r.webhook_id
     for no key update of r
), moved as (
  update offtake.webhook_mapping m
     set sequence_id = mine.reached, error = null, sqlstate = null, failures = 0, retry_at = null, updated_at = now()
    from mine
   where m.webhook_id = mine.webhook_id and mine.mappings ? m.mapping
), told as (
  update offtake.webhook w
     set delivered = w.delivered + mine.delivered, last_status = coalesce(mine.status, w.last_status),
         last_success_at = case when mine.delivered > 0 then now() else w.last_success_at end,
         failing_since = case when mine.delivered > 0 then null else w.failing_since end,
         consecutive_failures = case when mine.delivered > 0 then 0 else w.consecutive_failures end,
         last_error = null, state = 'in_sync', reason = null, updated_at = now(),
         -- The lowest cursor: one that this turn did not know stands as it does.
         sequence_id = least(mine.reached,
           (select min(m.sequence_id) from offtake.webhook_mapping m
             where m.webhook_id = w.webhook_id and m.mapping = any(w.mappings) and not mine.mappings ? m.mapping))
    from mine
   where w.webhook_id = mine.webhook_id
)
select request_id from mine

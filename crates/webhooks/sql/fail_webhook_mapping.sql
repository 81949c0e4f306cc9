-- The query of one mapping of a webhook failed; the others go on. $1 request, $2 attempt, $3 mapping,
-- $4 sqlstate or null, $5 error, $6 bigint milliseconds base and $7 bigint milliseconds maximum of its
-- own backoff. Only while the attempt is ours. Returns when it is tried again, in milliseconds from
-- now, and whether it failed in another way, or not at all, before.
with mine as (
  select webhook_id from offtake.outgoing_request where request_id = $1 and attempt = $2 for no key update
), before as (
  select m.error from offtake.webhook_mapping m join mine using (webhook_id) where m.mapping = $3
), failed as (
  update offtake.webhook_mapping m
     set error = $5, sqlstate = $4, failures = m.failures + 1, updated_at = now(),
         retry_at = now() + least($7::bigint, $6::bigint * power(2, least(m.failures, 20))) * (0.5 + random() / 2) * interval '1 millisecond'
    from mine where m.webhook_id = mine.webhook_id and m.mapping = $3
  returning m.retry_at, m.webhook_id
), noted as (
  update offtake.webhook w set state = 'blocked', reason = $3 || ': ' || $5, last_error = $3 || ': ' || $5, last_error_at = now()
    from failed where w.webhook_id = failed.webhook_id
)
select (extract(epoch from retry_at - now()) * 1000)::bigint as retry_ms, not exists (select from before where error = $5) as first
  from failed

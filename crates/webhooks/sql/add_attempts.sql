-- Notes requests that were sent, only while the request's attempt is ours: $1 request, $2 attempt, $3
-- jsonb, an array of objects with the columns of `sent` below; ago_ms is how long ago the request
-- began, and sequence ids are text. The webhooks engine calls it behind save_progress.sql, in the same
-- transaction.
insert into offtake.webhook_attempt
       (started_at, webhook_id, mapping, row_key, events, event_id, sequence_id, attempt, duration_ms, status, class, error, response)
select now() - sent.ago_ms * interval '1 millisecond', r.webhook_id, sent.mapping, sent.row_key, sent.events, sent.event_id,
       sent.sequence_id::bigint, sent.attempt, sent.duration_ms, sent.status, sent.class, sent.error, sent.response
  from offtake.outgoing_request r,
       jsonb_to_recordset($3) as sent (ago_ms bigint, mapping text, row_key text, events int, event_id text, sequence_id text,
                                       attempt bigint, duration_ms int, status int, class text, error text, response text)
 where r.request_id = $1 and r.attempt = $2
   -- While no daemon could make the day's partition, nothing is noted.
   and to_regclass('offtake.webhook_attempt_' || floor(extract(epoch from now() - sent.ago_ms * interval '1 millisecond') / 86400)::bigint) is not null

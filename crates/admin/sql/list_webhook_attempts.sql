-- Requests that were sent to webhook $1 (bigint), the newest first, at most $4 (bigint), those before
-- the attempt $3 (bigint; null: from the newest on). $2 text: only those of this class, or with this
-- status; null: all. Read backwards through webhook_attempt_webhook.
select attempt_id, started_at, mapping, row_key, events, event_id, sequence_id, attempt, duration_ms, status, class, error, response
  from offtake.webhook_attempt
 where webhook_id = $1 and ($2::text is null or class = $2 or status::text = $2) and ($3::bigint is null or attempt_id < $3)
 order by attempt_id desc
 limit $4

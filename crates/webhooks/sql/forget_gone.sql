-- Deletes webhooks that nothing has named for $1 bigint milliseconds, with their cursors; and what is
-- exhausted in quarantine for thirty days. Returns how many webhooks.
-- The webhooks engine calls it every few minutes; a transaction of its own.
with exhausted as (
  delete from offtake.quarantined_event where next_attempt_at is null and last_failed_at < now() - interval '30 days'
), gone as (
  delete from offtake.webhook where not active and deactivated_at < now() - $1::bigint * interval '1 millisecond' returning 1
)
select count(*) as webhooks from gone

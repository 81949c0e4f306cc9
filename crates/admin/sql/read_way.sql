-- How far the way of a change is open for one destination ($1 bigint, or null) or one webhook ($2
-- bigint, or null): one row. What the head of the log is, up to where the poller has looked and
-- since when the oldest captured change waits, as everywhere; and what is owed to this one, and
-- which process has it in hand. Single rows, primary keys, and the unique indexes
-- outgoing_request_sync and outgoing_request_webhook; no locks.
select now() as read_at, h.sequence_id as head, p.sequence_id as polled, p.updated_at as polled_at,
       n.daemon as numbered_by, n.since as numbering_since,
       (select captured_at from offtake.captured_change order by capture_id limit 1) as oldest_pending_at,
       r.wanted_sequence_id, r.owed_since, r.not_before, r.attempt, r.failures, r.leased_until, r.leased_by
  from offtake.poller_position p
 cross join offtake.log_head h
  left join offtake.numbering n on true
  left join lateral (
       select * from offtake.outgoing_request where kind = 'sync' and destination_id = $1
        union all
       select * from offtake.outgoing_request where kind = 'webhook' and webhook_id = $2
       ) r on true

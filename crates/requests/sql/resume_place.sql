-- A place that was down works again: what was put off to $1 text, the time of its next attempt, is
-- due now. The sync engine calls it, by itself. Uses outgoing_request_failing; skips what another
-- transaction holds, which comes at its time.
with waiting as materialized (
  select request_id
    from offtake.outgoing_request
   where kind = 'sync' and failures > 0 and not_before = $1::text::timestamptz and leased_until is null
   order by destination_id
     for no key update skip locked
)
update offtake.outgoing_request set not_before = now() where request_id = any(array(select request_id from waiting))

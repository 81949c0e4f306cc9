-- The heartbeat: extends the leases of $1 bigint[] requests by $3 bigint milliseconds, each only
-- while $2 bigint[] is still its attempt. Returns the requests that are still ours. A transaction
-- of its own. Locks the requests in the order of their destinations or webhooks, as the
-- poller does.
with mine as (
  select r.request_id
    from unnest($1::bigint[], $2::bigint[]) claimed (request_id, attempt)
    join offtake.outgoing_request r using (request_id)
   where r.attempt = claimed.attempt and r.leased_until is not null
   order by r.destination_id, r.webhook_id
   for no key update of r
)
update offtake.outgoing_request r
   set leased_until = now() + $3::bigint * interval '1 millisecond'
  from mine where r.request_id = mine.request_id
returning r.request_id

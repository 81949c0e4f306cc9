-- The heartbeat: extends the leases of $1 bigint[] requests by $3 bigint milliseconds, each only
-- while $2 bigint[] is still its attempt. Returns the requests that are still ours. A transaction
-- of its own. Locks the requests in the order of their destinations or webhooks, as the
-- poller does. Finds them by the keys of an array; see complete_requests.sql.
with mine as materialized (
  select r.request_id
    from unnest($1::bigint[], $2::bigint[]) claimed (request_id, attempt)
    join offtake.outgoing_request r using (request_id)
   where r.attempt = claimed.attempt and r.leased_until is not null and r.request_id = any($1::bigint[])
   order by r.destination_id, r.webhook_id
   for no key update of r
)
update offtake.outgoing_request r
   set leased_until = now() + $3::bigint * interval '1 millisecond'
 where r.request_id = any(array(select request_id from mine))
returning r.request_id

-- The heartbeat: extends the leases of $1 bigint[] requests by $3 bigint milliseconds, each only
-- while $2 bigint[] is still its attempt. Returns the requests that are still ours. A transaction
-- of its own.
update offtake.outgoing_request r
   set leased_until = now() + $3::bigint * interval '1 millisecond'
  from unnest($1::bigint[], $2::bigint[]) mine (request_id, attempt)
 where r.request_id = mine.request_id and r.attempt = mine.attempt and r.leased_until is not null
returning r.request_id

-- $1 request, $2 attempt: gives the request back after a turn in which the destination did not
-- fail, due again after $3 bigint milliseconds. No failure stays on record. A transaction of its
-- own.
update offtake.outgoing_request
   set leased_until = null, leased_by = null, failures = 0, last_error = null, not_before = now() + $3::bigint * interval '1 millisecond'
 where request_id = $1 and attempt = $2

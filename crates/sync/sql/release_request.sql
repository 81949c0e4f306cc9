-- $1 request, $2 attempt: gives the request back, due again after $3 bigint milliseconds, with no
-- failure on record.
update offtake.outgoing_request
   set leased_until = null, leased_by = null, failures = 0, last_error = null, not_before = now() + $3::bigint * interval '1 millisecond'
 where request_id = $1 and attempt = $2

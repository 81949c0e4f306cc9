-- $1 request, $2 attempt: gives the request back untouched, due again after $3 bigint milliseconds,
-- for another process or for later. The destination was not contacted, so the failures on record
-- stay. A transaction of its own.
update offtake.outgoing_request
   set leased_until = null, leased_by = null, not_before = now() + $3::bigint * interval '1 millisecond'
 where request_id = $1 and attempt = $2

-- $1 request, $2 attempt: gives the request back untouched, for others or for later: due again
-- after $3 bigint milliseconds. What is on record of the destination's failures stays: nobody has
-- asked it.
update offtake.outgoing_request
   set leased_until = null, leased_by = null, not_before = now() + $3::bigint * interval '1 millisecond'
 where request_id = $1 and attempt = $2

-- $1 request, $2 attempt: gives the request back after a failure, due again after $3 bigint
-- milliseconds. $4 what went wrong; $5 the destination's state from now on, $6 the reason shown
-- with it. A transaction of its own: the request and the destination's status agree. Locks the
-- destination before the request, as the registry does.
with mine as materialized (
  select d.destination_id
    from offtake.outgoing_request r join offtake.destination d using (destination_id)
   where r.request_id = $1 and r.attempt = $2
     for no key update of d
), failed as (
  update offtake.outgoing_request r
     set leased_until = null, leased_by = null, failures = failures + 1, last_error = $4,
         not_before = now() + $3::bigint * interval '1 millisecond'
    from mine
   where r.request_id = $1 and r.attempt = $2
  returning r.destination_id, r.failures
)
update offtake.destination d
   set consecutive_failures = failed.failures, last_error = $4, last_error_at = now(), state = $5, reason = $6, updated_at = now()
  from failed
 where d.destination_id = failed.destination_id

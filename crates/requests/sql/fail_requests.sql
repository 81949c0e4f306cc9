-- Gives the requests of many destinations back after their common place failed, as fail_request.sql
-- does one; see there. $1 bigint[] requests, $2 bigint[] attempts; $3 bigint: due again after so many
-- milliseconds, all at one time, so that they are tried together again; $4 what went wrong, $5 the
-- reason shown with it. Locks the requests in the order of their destinations, as the poller does.
with mine as materialized (
  select r.request_id
    from unnest($1::bigint[], $2::bigint[]) told (request_id, attempt)
    join offtake.outgoing_request r using (request_id)
   where r.attempt = told.attempt
   order by r.destination_id
     for no key update of r
), failed as (
  update offtake.outgoing_request r
     set leased_until = null, leased_by = null, failures = failures + 1, last_error = $4,
         not_before = now() + $3::bigint * interval '1 millisecond'
    from mine
   where r.request_id = mine.request_id
  returning r.destination_id, r.failures
)
update offtake.destination d
   set consecutive_failures = failed.failures, last_error = $4, last_error_at = now(), state = 'blocked', reason = $5, updated_at = now()
  from failed
 where d.destination_id = failed.destination_id

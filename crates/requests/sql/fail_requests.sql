-- Gives the requests of many destinations back after their common place failed, as fail_request.sql
-- does one; see there. $1 bigint[] requests, $2 bigint[] attempts; due again after $3 bigint
-- milliseconds, or at $4 text, a time to which others of the place were put off, so that all are
-- tried together; $5 what went wrong, $6 the reason shown with it. Returns the time. Locks the
-- destinations, as the registry does, and then the requests in the order of their destinations, as the poller does.
with again as materialized (
  select coalesce($4::text::timestamptz, now() + $3::bigint * interval '1 millisecond') as at
), held as materialized (
  select r.request_id, r.attempt
    from unnest($1::bigint[], $2::bigint[]) told (request_id, attempt)
    join offtake.outgoing_request r using (request_id)
    join offtake.destination d using (destination_id)
   where r.attempt = told.attempt and r.request_id = any($1::bigint[])
   order by d.destination_id
     for no key update of d
), mine as materialized (
  select r.request_id
    from held join offtake.outgoing_request r using (request_id)
   where r.attempt = held.attempt and r.request_id = any($1::bigint[])
   order by r.destination_id
     for no key update of r
), failed as (
  update offtake.outgoing_request r
     set leased_until = null, leased_by = null, failures = failures + 1, last_error = $5, not_before = again.at
    from again
   where r.request_id = any(array(select request_id from mine))
  returning r.destination_id, r.failures
), told as (
  update offtake.destination d
     set consecutive_failures = failed.failures, last_error = $5, last_error_at = now(), state = 'blocked', reason = $6, updated_at = now()
    from failed
   where d.destination_id = failed.destination_id
)
select at::text as again, (extract(epoch from at - clock_timestamp()) * 1000)::float8 as milliseconds from again

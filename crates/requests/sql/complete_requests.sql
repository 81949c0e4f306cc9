-- Completes many requests, as complete_request.sql does one: $1 bigint[] requests, $2 bigint[] their
-- attempts, $3 bigint[] the sequence ids that every mapping of each destination has reached. Where
-- more is wanted by now, the request is given back instead, due again at once. Returns the requests
-- that are completed. Locks them in the order of their destinations, as the poller does. Each request is
-- found by a key of an array and not by a join: by statistics of a moment when nothing was owed, a
-- join compares each of them with every request that there is.
with mine as materialized (
  select r.request_id, r.wanted_sequence_id <= done.reached as completed
    from unnest($1::bigint[], $2::bigint[], $3::bigint[]) done (request_id, attempt, reached)
    join offtake.outgoing_request r using (request_id)
   where r.attempt = done.attempt and r.request_id = any($1::bigint[])
   order by r.destination_id
     for update of r
), released as (
  update offtake.outgoing_request r
     set leased_until = null, leased_by = null, failures = 0, last_error = null, not_before = now()
   where r.request_id = any(array(select request_id from mine where not completed))
)
delete from offtake.outgoing_request r
 where r.request_id = any(array(select request_id from mine where completed))
returning r.request_id

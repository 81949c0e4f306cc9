-- Mirrors what the state rows of many destinations say after one commit there, as
-- mirror_destination.sql does for one; each only while its request's attempt is still ours. Their
-- copies are complete, none of their mappings failed, and all of a destination's mappings have
-- reached one sequence id. $1 bigint[] requests, $2 bigint[] attempts, $3 bigint[] sequence ids, $4
-- text[] the mappings of every one of them. Locks the requests in the order of their destinations,
-- as the poller does.
with mine as materialized (
  select r.destination_id, told.sequence_id
    from unnest($1::bigint[], $2::bigint[], $3::bigint[]) told (request_id, attempt, sequence_id)
    join offtake.outgoing_request r using (request_id)
   where r.attempt = told.attempt
   order by r.destination_id
     for no key update of r
), mirrored as (
  update offtake.destination_mapping m
     set sequence_id = mine.sequence_id, backfilled = true, backfill_finished_at = coalesce(m.backfill_finished_at, now()),
         error = null, sqlstate = null, failures = 0, retry_at = null, updated_at = now()
    from mine
   where m.destination_id = mine.destination_id and m.mapping = any($4::text[])
)
update offtake.destination d
   set sequence_id = mine.sequence_id, state = 'in_sync', reason = null, last_success_at = now(), consecutive_failures = 0,
       last_error = null, updated_at = now()
  from mine
 where d.destination_id = mine.destination_id

-- Mirrors what the state rows of many destinations say after one commit there, as
-- mirror_destination.sql does for one; each only while its request's attempt is still ours. Their
-- copies are complete, none of their mappings failed, and all of a destination's mappings have
-- reached one sequence id. $1 bigint[] requests, $2 bigint[] attempts, $3 bigint[] sequence ids; $4
-- text[] the mappings of every one of them and $7 text[] their versions; for each destination, mapping
-- by mapping, $5 text[] what its tables are, or nulls, and $6 bigint[] the rows that were copied, or
-- null: no copies began. Writes the destinations in the order of their ids, as all statements that
-- write many do, and locks no request: complete_requests.sql does so next.
with mine as materialized (
  select r.destination_id, told.sequence_id, told.at
    from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality told (request_id, attempt, sequence_id, at)
    join offtake.outgoing_request r using (request_id)
   where r.attempt = told.attempt and r.request_id = any($1::bigint[])
   order by r.destination_id
), mirrored as (
  update offtake.destination_mapping m
     set sequence_id = mine.sequence_id, backfilled = true, version = s.version, version_at = now(),
         target_identity = coalesce(($5::text[])[(mine.at - 1) * cardinality($4::text[]) + s.number], m.target_identity),
         rows_done = coalesce(($6::bigint[])[(mine.at - 1) * cardinality($4::text[]) + s.number], m.rows_done),
         rows_total = case when $6::bigint[] is null then m.rows_total end,
         backfill_started_at = case when $6::bigint[] is null then m.backfill_started_at else now() end,
         backfill_finished_at = case when $6::bigint[] is null then coalesce(m.backfill_finished_at, now()) else now() end,
         error = null, sqlstate = null, failures = 0, retry_at = null, updated_at = now(),
         -- What an audit found of the rows before them says nothing about rows that are copied again.
         differences = case when $6::bigint[] is null then m.differences end,
         audit_progress = case when $6::bigint[] is null then m.audit_progress end,
         audited_at = case when $6::bigint[] is null then m.audited_at else '-infinity' end,
         audit_error = case when $6::bigint[] is null then m.audit_error end,
         audit_untold = m.audit_untold or m.differences is not null and $6::bigint[] is not null
    from mine cross join unnest($4::text[], $7::text[]) with ordinality s (mapping, version, number)
   where m.destination_id = mine.destination_id and m.mapping = s.mapping
)
update offtake.destination d
   set sequence_id = mine.sequence_id, state = 'in_sync', reason = null, last_success_at = now(), consecutive_failures = 0,
       last_error = null, updated_at = now()
  from mine
 where d.destination_id = mine.destination_id

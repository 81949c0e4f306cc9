-- Mirrors what a destination's own state rows say after a commit there; only while the request's
-- attempt is still ours: otherwise no row is returned. goes_on: the destination is neither paused
-- nor removed. $1 request, $2 attempt, $3 text[] mappings, $4 bigint[] sequence ids, $5
-- boolean[] backfilled, $6 bigint[] rows copied by this step's chunk, $7 bigint[] estimated total
-- or null, $8 text state, $9 text reason, $10 text[] mappings whose copy begins again, $11 text[]
-- what their tables are, or null where that is not known, $12 text[] the versions of the mappings that
-- they are copies of.
with mine as (
  select destination_id from offtake.outgoing_request where request_id = $1 and attempt = $2
), mirrored as (
  insert into offtake.destination_mapping as m
         (destination_id, mapping, sequence_id, backfilled, target_identity, rows_done, rows_total, backfill_started_at, backfill_finished_at, version,
          version_at)
  select mine.destination_id, s.mapping, s.sequence_id, s.backfilled, s.identity, s.rows, s.total, now(), case when s.backfilled then now() end, s.version,
         now()
    from mine, unnest($3::text[], $4::bigint[], $5::boolean[], $6::bigint[], $7::bigint[], $11::text[], $12::text[])
               s (mapping, sequence_id, backfilled, rows, total, identity, version)
  on conflict (destination_id, mapping) do update
     set sequence_id = excluded.sequence_id,
         backfilled = excluded.backfilled,
         version = excluded.version, version_at = excluded.version_at,
         target_identity = coalesce(excluded.target_identity, m.target_identity),
         rows_done = case when excluded.mapping = any($10::text[]) then 0 else m.rows_done end + excluded.rows_done,
         rows_total = case when excluded.mapping = any($10::text[]) then excluded.rows_total else m.rows_total end,
         backfill_started_at = case when excluded.mapping = any($10::text[]) then now() else m.backfill_started_at end,
         backfill_finished_at = case when not excluded.backfilled then null else coalesce(m.backfill_finished_at, now()) end,
         error = null, sqlstate = null, failures = 0, retry_at = null, updated_at = now(),
         -- What an audit found of the rows before them says nothing about rows that are copied again.
         differences = case when excluded.backfilled and excluded.mapping <> all($10::text[]) then m.differences end,
         audit_progress = case when excluded.backfilled and excluded.mapping <> all($10::text[]) then m.audit_progress end,
         audited_at = case when excluded.backfilled and excluded.mapping <> all($10::text[]) then m.audited_at else '-infinity' end,
         audit_error = case when excluded.backfilled and excluded.mapping <> all($10::text[]) then m.audit_error end,
         audit_untold = m.audit_untold or m.differences is not null and not (excluded.backfilled and excluded.mapping <> all($10::text[]))
)
update offtake.destination d
   set sequence_id = least(
         (select min(s) from unnest($4::bigint[]) s),
         -- A mapping that failed this time stands where it stood; the log is kept for it too.
         (select min(m.sequence_id) from offtake.destination_mapping m
           where m.destination_id = d.destination_id and m.mapping = any(d.mappings) and m.mapping <> all($3::text[]) and m.sequence_id > 0)),
       state = $8, reason = $9, last_success_at = now(), consecutive_failures = 0, updated_at = now(),
       last_error = case when $8 = 'blocked' then d.last_error end
  from mine
 where d.destination_id = mine.destination_id
returning d.active and (d.paused_at is null or coalesce(d.paused_until <= now(), false)) as goes_on

-- What a turn has reached, only while its request's attempt is still ours: $1 request, $2 attempt. No
-- other worker can claim meanwhile.
-- $3 jsonb, an array of cursors: mapping, sequence_id (text), epoch, version, need, resync_reason,
-- resync_sequence_id (text), was_reason and was_sequence_id (what they were when they were last known),
-- backfilled, backfill_key, rows (told by a backfill with this step), begun
-- (a backfill begins).
-- $4 jsonb, an array of refused events: mapping, row_key, sequence_id (text), captured_at, status,
-- error, sqlstate, next_ms (milliseconds to the next attempt, by how many attempts failed: an array),
-- exhausted. $5 text[] mappings and $6 jsonb[] row keys that were acknowledged and may be in
-- quarantine. $7 bigint[] replays and $8 bigint[] how far each was told; $9 bigint how many events
-- were acknowledged, $10 bigint how many requests failed, $11 int the last status; $12 text state and
-- $13 text reason, null: as they are; $14 bigint the generation, which a resync raises.
-- Returns a row if the request is ours.
-- The webhooks engine calls it, with add_attempts.sql, in one transaction with the end of the request.
with mine as materialized (
  select webhook_id from offtake.outgoing_request where request_id = $1 and attempt = $2 for no key update
), moved as (
  update offtake.webhook_mapping m
     set sequence_id = c.sequence_id::bigint, epoch = c.epoch, version = c.version, need = c.need,
         -- A resync that was asked for meanwhile stays owed.
         resync_reason = case when asked.meanwhile then m.resync_reason else c.resync_reason end,
         resync_sequence_id = case when asked.meanwhile then m.resync_sequence_id else c.resync_sequence_id::bigint end,
         backfilled = c.backfilled, backfill_key = c.backfill_key,
         rows_done = case when c.begun then 0 else m.rows_done end + c.rows,
         backfill_started_at = case when c.begun then now() else m.backfill_started_at end,
         backfill_finished_at = case when c.begun then null when c.backfilled and not m.backfilled then now() else m.backfill_finished_at end,
         error = null, sqlstate = null, failures = 0, retry_at = null, updated_at = now()
    from mine,
         jsonb_to_recordset($3) as c (mapping text, sequence_id text, epoch text, version text, need text, resync_reason text,
                                      resync_sequence_id text, was_reason text, was_sequence_id text,
                                      backfilled boolean, backfill_key jsonb, rows bigint, begun boolean),
         offtake.webhook_mapping before,
         lateral (select (before.resync_reason, before.resync_sequence_id) is distinct from (c.was_reason, c.was_sequence_id::bigint)) asked (meanwhile)
   where m.webhook_id = mine.webhook_id and m.mapping = c.mapping
     and before.webhook_id = mine.webhook_id and before.mapping = c.mapping
), quarantined as (
  insert into offtake.quarantined_event as q
         (webhook_id, mapping, row_key, sequence_id, captured_at, next_attempt_at, status, error, sqlstate)
  select distinct on (e.mapping, e.row_key)
         mine.webhook_id, e.mapping, e.row_key, e.sequence_id::bigint, e.captured_at,
         case when not e.exhausted then now() + (e.next_ms ->> 0)::bigint * interval '1 millisecond' end, e.status, e.error, e.sqlstate
    from mine,
         jsonb_to_recordset($4) as e (mapping text, row_key jsonb, sequence_id text, captured_at timestamptz, status int, error text,
                                      sqlstate text, next_ms jsonb, exhausted boolean)
   order by e.mapping, e.row_key, e.sequence_id::bigint desc
  on conflict (webhook_id, mapping, row_key) do update
     set sequence_id = excluded.sequence_id, captured_at = excluded.captured_at, status = excluded.status, error = excluded.error,
         sqlstate = excluded.sqlstate, last_failed_at = now(),
         -- Another state of the row has all attempts before it.
         attempts = case when excluded.sequence_id = q.sequence_id then q.attempts + 1 else 1 end,
         next_attempt_at = case when excluded.next_attempt_at is not null then now() + interval '1 millisecond' * (
           (select e.next_ms from jsonb_to_recordset($4) as e (mapping text, row_key jsonb, next_ms jsonb)
             where e.mapping = excluded.mapping and e.row_key = excluded.row_key limit 1)
           ->> case when excluded.sequence_id = q.sequence_id then q.attempts else 0 end)::bigint end
), released as (
  delete from offtake.quarantined_event q
   using mine, unnest($5::text[], $6::jsonb[]) told (mapping, row_key)
   where q.webhook_id = mine.webhook_id and q.mapping = told.mapping and q.row_key = told.row_key
), replayed as (
  update offtake.webhook_replay p set after = told.after
    from mine, unnest($7::bigint[], $8::bigint[]) told (replay_id, after)
   where p.webhook_id = mine.webhook_id and p.replay_id = told.replay_id and p.up_to > told.after
), replays_ended as (
  delete from offtake.webhook_replay p
   using mine, unnest($7::bigint[], $8::bigint[]) told (replay_id, after)
   where p.webhook_id = mine.webhook_id and p.replay_id = told.replay_id and p.up_to <= told.after
)
update offtake.webhook w
   set generation = greatest(w.generation, $14::bigint),
       delivered = w.delivered + $9::bigint, failed = w.failed + $10::bigint,
       last_status = coalesce($11::int, w.last_status),
       last_success_at = case when $9::bigint > 0 then now() else w.last_success_at end,
       failing_since = case when $9::bigint > 0 then null else w.failing_since end,
       consecutive_failures = case when $9::bigint > 0 then 0 else w.consecutive_failures end,
       last_error = case when $12::text = 'in_sync' then null else w.last_error end,
       state = coalesce($12::text, w.state), reason = case when $12::text is null then w.reason else $13 end,
       -- The lowest cursor: of those that this step moves as they are now, of the others as they stand.
       sequence_id = least(
         (select min(c.sequence_id::bigint) from jsonb_to_recordset($3) as c (mapping text, sequence_id text) where c.mapping = any(w.mappings)),
         (select min(m.sequence_id) from offtake.webhook_mapping m
           where m.webhook_id = w.webhook_id and m.mapping = any(w.mappings)
             and not exists (select from jsonb_to_recordset($3) as c (mapping text) where c.mapping = m.mapping))),
       updated_at = now()
  from mine
 where w.webhook_id = mine.webhook_id
returning w.webhook_id

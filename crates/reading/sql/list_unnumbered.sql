-- The captured changes that this snapshot shows and the sequencer has not numbered: their capture
-- ids, at most $1 bigint of them, and when the last one was captured.
select coalesce(array_agg(capture_id), '{}') as capture_ids, max(captured_at)::text as last
  from (select capture_id, captured_at from offtake.captured_change limit $1::bigint) visible

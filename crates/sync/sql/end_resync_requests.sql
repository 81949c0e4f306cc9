-- The destination's cursors say that these copies have begun again: $1 bigint[] requests. The
-- mirror says so in the same moment, or a reader would find neither a request nor an unfinished
-- copy.
with ended as (
  delete from offtake.resync_request where resync_id = any($1) returning destination_id, mapping
)
update offtake.destination_mapping m
   set backfilled = false, rows_done = 0, backfill_started_at = now(), backfill_finished_at = null, updated_at = now()
  from ended where m.destination_id = ended.destination_id and m.mapping = ended.mapping

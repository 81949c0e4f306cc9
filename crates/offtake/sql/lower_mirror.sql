-- Lowers what the source knows of a destination's cursors, before a restore commits there: it may
-- be behind the cursors, never ahead of them. Otherwise the next worker would take the destination
-- for an older one of itself and copy all of it again, and the log would be dropped although the
-- destination still needs it. $1 bigint: the destination; $2 text[]: mappings; $3 bigint: the
-- sequence id. By primary key. Locks those rows; no worker writes them while the destination is
-- paused and its request was taken back.
with lowered as (
  update offtake.destination set sequence_id = $3, updated_at = now()
   where destination_id = $1 and sequence_id > $3
)
update offtake.destination_mapping
   set sequence_id = $3, updated_at = now()
 where destination_id = $1 and mapping = any($2) and sequence_id > $3

-- Lowers the source's mirror of a destination's cursors before a restore commits there: the mirror
-- may be behind the truth, never ahead of it. Left higher, the next worker would take the
-- destination for an older one of itself and copy all of it again. $1 bigint: the destination; $2
-- text[]: mappings; $3 bigint: the sequence id. By primary key; locks those rows, and nobody else
-- writes them while the destination is paused and nothing of it is leased.
update offtake.destination_mapping
   set sequence_id = least(sequence_id, $3), updated_at = now()
 where destination_id = $1 and mapping = any($2)

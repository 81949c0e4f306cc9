-- Whether some captured changes still wait for their numbers. $1 bigint[] their capture ids, $2 text
-- when the last of them was captured, or null. The sequencer replaces a change with many dependants by a
-- note, which has an id of its own and keeps the time of the change.
select exists (select from offtake.captured_change where capture_id = any($1::bigint[]))
    or exists (select from offtake.captured_change where operation = 'r' and captured_at <= $2::text::timestamptz)

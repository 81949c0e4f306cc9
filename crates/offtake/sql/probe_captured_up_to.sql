-- Whether a captured change with a capture id up to $1 still waits to be sequenced, or an expansion
-- is in progress. Reads captured_change, which is nearly empty unless the sequencer is behind.
select exists (select from offtake.captured_change where capture_id <= $1 or operation = 'r')

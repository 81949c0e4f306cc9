-- The newest captured change that is visible now; null where all changes are sequenced. Reads the
-- end of the primary key.
select max(capture_id) from offtake.captured_change

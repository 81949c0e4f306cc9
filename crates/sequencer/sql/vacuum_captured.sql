-- Removes what numbered changes leave in the table and its index. Without truncation: to give pages
-- back, it would lock the application's triggers out for a moment. Without waiting for another vacuum.
-- The sequencer runs it outside any transaction, after some ten thousand changes.
vacuum (skip_locked, truncate off) offtake.captured_change

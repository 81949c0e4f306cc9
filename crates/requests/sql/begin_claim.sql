-- Begins a claim's transaction. The oldest due requests are read in the order of outgoing_request_due
-- until there are enough, and found again by their place. Without the settings, a plan for few due requests
-- would read and sort all of them, however many are due by now, or all that is owed.
begin;
set local enable_seqscan = off;
set local enable_sort = off;
set local enable_bitmapscan = off;
set local enable_hashjoin = off;
set local enable_mergejoin = off

-- Begins a claim's transaction. The oldest due requests are read in the order of outgoing_request_due
-- until there are enough; without the settings, a plan for few due requests would read and sort all
-- of them, however many are due by now.
begin;
set local enable_sort = off;
set local enable_bitmapscan = off;
set local enable_hashjoin = off;
set local enable_mergejoin = off

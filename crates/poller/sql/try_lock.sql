-- Tries to take the poller's lock until the transaction ends; $1 bigint is its key. Returns whether
-- it holds it, and notes that in a setting of the transaction: owe_page.sql is sent before the
-- poller has seen the answer, and does nothing without the lock.
select set_config('offtake.lock', case when pg_try_advisory_xact_lock($1) then 'held' else 'taken' end, true) = 'held'

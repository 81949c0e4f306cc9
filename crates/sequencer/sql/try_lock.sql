-- Tries to take the sequencer's lock until the transaction ends; $1 bigint is its key. Returns
-- whether it holds it, and notes that in a setting of the transaction: sequence_changes.sql is sent
-- before the sequencer has seen the answer, and does nothing without the lock. The server releases
-- it after the commit has become visible.
select set_config('offtake.lock', case when pg_try_advisory_xact_lock($1) then 'held' else 'taken' end, true) = 'held'

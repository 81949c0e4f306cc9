-- Tries to take the sequencer's lock until the transaction ends; $1 bigint is its key. The server
-- releases it after the commit has become visible.
select pg_try_advisory_xact_lock($1)

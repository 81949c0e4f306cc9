-- Tries to take the poller's lock until the transaction ends; $1 bigint is its key.
select pg_try_advisory_xact_lock($1)

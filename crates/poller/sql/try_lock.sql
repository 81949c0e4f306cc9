-- The poller's lock, until the transaction's end; $1 bigint is its key.
select pg_try_advisory_xact_lock($1)

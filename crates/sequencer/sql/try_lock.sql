-- The sequencer's lock, until the transaction's end; $1 bigint is its key. Released after the
-- commit is visible.
select pg_try_advisory_xact_lock($1)

-- Begins a poll's transaction. The poller fills in {statement_ms}. Idle timeout: a stopped process
-- must not hold the lock for long. No synchronous commit: a crash of the server that takes a poll
-- back takes back position and requests alike, and whatever was committed after it. Read committed: the statement after the lock must see what the
-- last holder of the lock has committed.
begin isolation level read committed;
set local synchronous_commit = off;
set local idle_in_transaction_session_timeout = '10s';
set local statement_timeout = {statement_ms};
set local lock_timeout = '5s'

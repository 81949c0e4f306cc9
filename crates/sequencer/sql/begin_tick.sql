-- Begins a tick's transaction. The sequencer fills in {statement_ms}. Synchronous commit: a tick
-- must be durable before any of its changes leaves the database. Idle timeout: a stopped process
-- must not hold the lock for long. Lock timeout: if the application has locked its own tables, a
-- statement of the tick stops waiting after 0.5 s; after 1 s the server would look for a deadlock
-- and could cancel the application. Read committed: every statement must see what the last holder
-- of the lock has committed.
begin isolation level read committed;
set local synchronous_commit = on;
set local idle_in_transaction_session_timeout = '10s';
set local statement_timeout = {statement_ms};
set local lock_timeout = '500ms'

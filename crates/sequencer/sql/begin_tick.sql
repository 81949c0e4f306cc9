-- Begins a transaction under the sequencer's lock. The sequencer fills in {statement_ms} and
-- {synchronous_commit}: off for a tick, see tick.rs, on for everything else. Idle timeout: a stopped process
-- must not hold the lock for long. Lock timeout: if the application has locked its own tables, a
-- statement of the tick stops waiting after 0.5 s; after 1 s the server would look for a deadlock
-- and could cancel the application. Read committed: every statement must see what the last holder
-- of the lock has committed. Enable_seqscan: a session keeps the plan of its first tick, which was
-- made when captured_change was empty, as it mostly is; that plan would read the whole table in
-- every tick of a backlog. The tick takes it back before it reads the application's tables.
begin isolation level read committed;
set local synchronous_commit = {synchronous_commit};
set local idle_in_transaction_session_timeout = '10s';
set local statement_timeout = {statement_ms};
set local lock_timeout = '500ms';
set local enable_seqscan = off

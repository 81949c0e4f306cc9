-- It gives way to an application that locks its tables for itself before the server looks for a
-- deadlock's victim (after 1 s), which could be the application. {statement_ms} is filled in. A
-- tick must be durable before anything leaves the database, and a stopped process must not keep the
-- lock for long. Read committed: every statement must see what the last holder of the lock has
-- committed.
begin isolation level read committed;
set local synchronous_commit = on;
set local idle_in_transaction_session_timeout = '10s';
set local statement_timeout = {statement_ms};
set local lock_timeout = '500ms'

-- It gives way to an application that locks its tables for itself before the server looks for a deadlock's victim (after 1 s),
-- which could be the application.
-- A tick must be durable before anything leaves the database, and a stopped process must not keep the lock for long.
set local synchronous_commit = on;
set local idle_in_transaction_session_timeout = '10s';
set local statement_timeout = '60s';
set local lock_timeout = '500ms'

-- A stopped process must not keep the lock for long.
set local idle_in_transaction_session_timeout = '10s';
set local statement_timeout = '60s';
set local lock_timeout = '5s'

-- {statement_ms} is filled in. A stopped process must not keep the lock for long. Read committed:
-- the statement after the lock must see what its last holder has committed.
begin isolation level read committed;
set local idle_in_transaction_session_timeout = '10s';
set local statement_timeout = {statement_ms};
set local lock_timeout = '5s'

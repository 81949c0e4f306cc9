-- Opens every transaction at a destination. All of it is SET LOCAL: behind a pooler, or after a
-- tenant's trigger called set_config, the session's settings are not ours. {schema},
-- {statement_ms}, {lock_ms}, {idle_ms} are filled in. enable_seqscan = off: every statement of an
-- apply finds rows by key, but a table that was empty when it was planned for, or was never
-- analysed, would be scanned as a whole for each batch (860 rows/s where 85 000 are possible). Not
-- READ WRITE: an operator who made the database read-only meant Offtake too, and a standby would
-- refuse READ WRITE. jit = off: the price of a forbidden scan makes any plan look worth compiling,
-- and compiling takes half a second.
begin isolation level read committed;
set local search_path = pg_catalog, {schema};
set local statement_timeout = {statement_ms};
set local lock_timeout = {lock_ms};
set local idle_in_transaction_session_timeout = {idle_ms};
set local row_security = off;
set local enable_seqscan = off;
set local jit = off;
set local client_min_messages = error;

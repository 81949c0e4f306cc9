-- Until the transaction ends, no other request with this idempotency key records a job. $1 text: the key. A statement
-- of its own before create_job.sql: the next holder's look then sees what the last one has recorded.
select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('offtake.job.idempotency_key:' || $1, 0))

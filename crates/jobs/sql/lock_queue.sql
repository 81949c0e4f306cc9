-- Until the transaction ends, no other one counts the jobs of this kind that wait, and records one more. $1 text: the
-- kind. A statement of its own before count_queued.sql or record_due_snapshots.sql: what the next holder counts has
-- what the last one has recorded. After lock_request.sql, where a transaction takes both.
select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('offtake.job.queue:' || $1, 0))

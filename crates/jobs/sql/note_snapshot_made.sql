-- A tenant ($1 text, as the source prints it) has a new complete snapshot of each kind, or no row that it could
-- have. In the transaction of finish_job.sql. By primary key.
update offtake.snapshot_schedule set made_at = now() where tenant_at_source = $1

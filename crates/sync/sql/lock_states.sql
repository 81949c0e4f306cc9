-- Locks the tenant's cursors for the rest of the transaction; this is the fence between workers. $1 tenant. {state} is the table.
select mapping, sequence_id, backfilled, backfill_key::text as backfill_key, epoch::text as epoch, version, pg_backend_pid() as backend
  from {state} where tenant_id = $1 order by mapping for update

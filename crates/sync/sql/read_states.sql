-- The tenant's cursors without a lock. $1 tenant. {state} is the state table. What is not there is
-- a cursor that stands nowhere: the tenant may have altered the table. written: see
-- move_cursors.sql.
select mapping::text, coalesce(sequence_id::bigint, -1) as sequence_id, coalesce(backfilled::boolean, false) as backfilled,
       backfill_key::text as backfill_key, coalesce(epoch::text, '') as epoch, coalesce(version::text, '') as version, s.xmin::text as written
  from {state} s where tenant_id = $1 and mapping is not null order by mapping

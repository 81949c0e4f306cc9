-- The cursors of several tenants without a lock, as read_states.sql reads those of one; see there.
-- $1 text[] tenants. {state} is the state table.
select tenant_id::text as tenant_id, mapping::text as mapping, coalesce(sequence_id::bigint, -1) as sequence_id,
       coalesce(backfilled::boolean, false) as backfilled, backfill_key::text as backfill_key, coalesce(epoch::text, '') as epoch,
       coalesce(version::text, '') as version, s.xmin::text as written
  from {state} s where tenant_id = any($1) and mapping is not null

-- The newest numbered changes that concern one key: $1 text the tenant as the source prints it, $2
-- text the source table, $3 jsonb the key as the log has it. At most two rows besides nothing: the
-- newest change of the key, and the newest of the whole table. Where neither is known, one row with
-- nulls. Beside them, how many changes were looked at and since when they were numbered.
-- Looks at the newest 100 001 changes of the tenant and the newest 100 001 of every tenant's, in
-- this table, through change_log_tenant backwards; no locks.
with own as materialized (
  select sequence_id, row_key, deleted, captured_at, sequenced_at, false as of_every_tenant from offtake.change_log
   where tenant_id = $1 and source_table = $2 order by sequence_id desc limit 100001
), everyones as materialized (
  select sequence_id, row_key, deleted, captured_at, sequenced_at, true as of_every_tenant from offtake.change_log
   where tenant_id is null and source_table = $2 order by sequence_id desc limit 100001
), looked_at as (
  select * from own union all select * from everyones
), seen as (
  select count(*) as changes, min(sequenced_at) as since from looked_at
), newest as (
  select distinct on (row_key is null)
         sequence_id, row_key is null as whole_table, of_every_tenant, deleted, captured_at, sequenced_at
    from looked_at where row_key = $3 or row_key is null
   order by row_key is null, sequence_id desc
)
select s.changes, s.since, n.* from seen s left join newest n on true

-- The newest numbered changes that concern one key: $1 text the tenant as the source prints it, $2
-- text the source table, $3 jsonb the key as the log has it. At most two rows besides nothing: the
-- newest change of the key, and the newest of the whole table. Where neither is known, one row with
-- nulls. Beside them, how many changes were looked at and since when they were numbered.
-- Looks at the newest 100 001 changes of the tenant and the newest 100 001 of every tenant's, in
-- this table, through change_log_tenant backwards, and at the rest of a list; no locks.
with own as materialized (
  select *, sum(coalesce(key_count, 1)) over (order by sequence_id desc rows unbounded preceding) as keys_to_here, false as of_every_tenant
    from (select sequence_id, row_key, deleted, captured_at, sequenced_at, keys, key_count, key_column from offtake.change_log
           where tenant_id = $1 and source_table = $2 order by sequence_id desc limit 100001) newest
), everyones as materialized (
  select *, sum(coalesce(key_count, 1)) over (order by sequence_id desc rows unbounded preceding) as keys_to_here, true as of_every_tenant
    from (select sequence_id, row_key, deleted, captured_at, sequenced_at, keys, key_count, key_column from offtake.change_log
           where tenant_id is null and source_table = $2 order by sequence_id desc limit 100001) newest
), looked_at as (
  select * from own where keys_to_here - coalesce(key_count, 1) <= 100000
   union all
  select * from everyones where keys_to_here - coalesce(key_count, 1) <= 100000
), seen as (
  select least(coalesce(sum(coalesce(key_count, 1)), 0), 100001)::bigint as changes, min(sequenced_at) as since from looked_at
), newest as (
  select distinct on (row_key is null)
         sequence_id, row_key is null as whole_table, of_every_tenant, deleted, captured_at, sequenced_at
    from (select sequence_id, row_key, deleted, captured_at, sequenced_at, of_every_tenant from looked_at
           where key_count is null and (row_key = $3 or row_key is null)
          union all
          select k.sequence_id, k.row_key, l.deleted, l.captured_at, l.sequenced_at, l.of_every_tenant
            from looked_at l cross join lateral offtake.keys_of(l.sequence_id, l.key_count, l.keys, l.key_column) k
           where l.key_count is not null and (l.key_column is null or $3 ->> l.key_column = any(l.keys)) and k.row_key = $3) of_key
   order by row_key is null, sequence_id desc
)
select s.changes, s.since, n.* from seen s left join newest n on true

-- What a replay of webhook $1 (bigint) would tell: of its mapping $2 (text; null: of all) the changes
-- behind sequence id $3 (bigint), or captured since $4 (timestamptz), and captured until $5
-- (timestamptz; null: without an end). One of $3 and $4 is null. $6 bigint: sequence ids per partition
-- of the log. Returns the sequence id after which the replay begins, the one up to which it goes (null:
-- to the cursor), how many keys that are, counted up to 100 001 changes, and the lowest sequence id
-- after which one can begin. The log is read through change_log_tenant.
with webhook as materialized (
  select distinct coalesce(source_tenant_id, tenant_id) as tenant_id, own.source_table
    from offtake.webhook w cross join lateral unnest(w.mappings, w.source_tables) own (mapping, source_table)
   where w.webhook_id = $1 and ($2::text is null or own.mapping = $2)
), lowest as (
  select coalesce(min(substring(c.relname from '_(\d+)$')::bigint) * $6::bigint, 0) as lowest
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
   where i.inhparent = 'offtake.change_log'::regclass
), since as (
  select min(first.sequence_id) as after
    from webhook w
   cross join lateral (
         (select sequence_id - coalesce(key_count, 1) as sequence_id from offtake.change_log
           where tenant_id = w.tenant_id and source_table = w.source_table and captured_at >= $4::timestamptz order by sequence_id limit 1)
          union all
         (select sequence_id - coalesce(key_count, 1) from offtake.change_log
           where tenant_id is null and source_table = w.source_table and captured_at >= $4::timestamptz order by sequence_id limit 1)) first
), begins as materialized (
  select coalesce($3::bigint, (select greatest(since.after, lowest.lowest) from since, lowest where since.after is not null), (select sequence_id from offtake.log_head)) as after
), until as (
  select max(last.sequence_id) as sequence_id
    from webhook w
   cross join begins b
   cross join lateral (
         (select sequence_id from offtake.change_log
           where tenant_id = w.tenant_id and source_table = w.source_table and sequence_id > b.after and captured_at <= $5::timestamptz
           order by sequence_id desc limit 1)
          union all
         (select sequence_id from offtake.change_log
           where tenant_id is null and source_table = w.source_table and sequence_id > b.after and captured_at <= $5::timestamptz
           order by sequence_id desc limit 1)) last
), ends as materialized (
  select case when $5::timestamptz is not null then coalesce((select sequence_id from until), (select after from begins)) end as up_to
)
select e.after, e.up_to, lowest.lowest, counted.keys, counted.changes
  from (select begins.after, ends.up_to, least(coalesce(ends.up_to, 9223372036854774807), 9223372036854774807) as last from begins cross join ends) e cross join lowest
 cross join lateral (
       select count(*) as changes, count(distinct (source_table, row_key)) as keys
         from (select l.source_table, l.row_key
                 from webhook w
                cross join lateral (
                      (select source_table, row_key from offtake.change_log
                        where tenant_id = w.tenant_id and source_table = w.source_table
                          and sequence_id > e.after and sequence_id <= e.last and key_count is null)
                       union all
                      (select source_table, row_key from offtake.change_log
                        where tenant_id is null and source_table = w.source_table
                          and sequence_id > e.after and sequence_id <= e.last and key_count is null)
                       union all
                      (select l.source_table, k.row_key
                         from offtake.change_log l cross join lateral offtake.keys_of(l.sequence_id, l.key_count, l.keys, l.key_column) k
                        where l.tenant_id = w.tenant_id and l.source_table = w.source_table
                          and l.sequence_id > e.after and l.sequence_id <= e.last + 1000 and l.key_count is not null
                          and k.sequence_id > e.after and k.sequence_id <= e.last)
                       union all
                      (select l.source_table, k.row_key
                         from offtake.change_log l cross join lateral offtake.keys_of(l.sequence_id, l.key_count, l.keys, l.key_column) k
                        where l.tenant_id is null and l.source_table = w.source_table
                          and l.sequence_id > e.after and l.sequence_id <= e.last + 1000 and l.key_count is not null
                          and k.sequence_id > e.after and k.sequence_id <= e.last)) l
                limit 100001) l
       ) counted

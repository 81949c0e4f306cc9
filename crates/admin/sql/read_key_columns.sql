-- The names of the key's columns of mapping $2 text, as the newest numbered changes of tenant $1 text
-- (as it is configured) have them: at most one row. No row where the tenant has not that mapping, or
-- the log no such change.
-- Looks at the newest 1001 changes of the tenant in the mapping's table, through change_log_tenant
-- backwards.
select array(select jsonb_object_keys(coalesce(l.row_key, l.first)) order by 1) as columns
  from (select coalesce(d.source_tenant_id, d.tenant_id) as tenant_id, m.source_table
          from offtake.destination d cross join lateral unnest(d.mappings, d.source_tables) m (mapping, source_table)
         where d.tenant_id = $1 and d.active and m.mapping = $2
         union
        select coalesce(w.source_tenant_id, w.tenant_id), m.source_table
          from offtake.webhook w cross join lateral unnest(w.mappings, w.source_tables) m (mapping, source_table)
         where w.tenant_id = $1 and w.active and m.mapping = $2
         limit 1) of_mapping
 cross join lateral (
       select row_key, (select k.row_key from offtake.keys_of(sequence_id, 1, keys[1:1], key_column) k) as first from offtake.change_log
        where tenant_id = of_mapping.tenant_id and source_table = of_mapping.source_table
        order by sequence_id desc limit 1001) l
 where coalesce(l.row_key, l.first) is not null
 limit 1

-- The catalogs of extensions that keep a table's rows elsewhere than in the table, as SQL writes
-- their names; only those that the current role may read. One row each.
select case c.relname when 'hypertable' then 'timescaledb' else 'citus' end as manager,
       format('%I.%I', n.nspname, c.relname) as catalog
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where ((n.nspname = '_timescaledb_catalog' and c.relname = 'hypertable')
        or (n.nspname in ('pg_catalog', 'public') and c.relname = 'pg_dist_partition'))
   and has_schema_privilege(n.oid, 'usage')
   and has_table_privilege(c.oid, 'select')

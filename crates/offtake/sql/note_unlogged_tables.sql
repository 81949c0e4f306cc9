-- Remembers which of some tables are unlogged, or have an unlogged partition or child. $1 text[]
-- their names as mappings write them, $2 text[] schemas, $3 text[] tables. Walks pg_inherits by its
-- parent index; takes no lock on the tables.
with recursive part as (
  select w.source_table, c.oid
    from unnest($1::text[], $2::text[], $3::text[]) as w (source_table, schema_name, table_name)
    join pg_catalog.pg_namespace n on n.nspname = w.schema_name
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.table_name
  union
  select p.source_table, i.inhrelid
    from part p
    join pg_catalog.pg_inherits i on i.inhparent = p.oid
)
insert into offtake.unlogged_table (source_table)
select distinct p.source_table
  from part p
  join pg_catalog.pg_class c on c.oid = p.oid
 where c.relkind = 'r' and c.relpersistence = 'u'
on conflict do nothing

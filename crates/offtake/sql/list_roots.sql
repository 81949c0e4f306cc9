-- The tables, by schema and name, that relations $1 (schemas) and $2 (names), by position, belong to: of a partition its root.
select distinct n.nspname::text as schema_name, c.relname::text as table_name
  from unnest($1::text[], $2::text[]) as given (schema_name, table_name)
  join pg_catalog.pg_namespace g on g.nspname = given.schema_name
  join pg_catalog.pg_class r on r.relnamespace = g.oid and r.relname = given.table_name
  join pg_catalog.pg_class c on c.oid = coalesce(pg_catalog.pg_partition_root(r.oid), r.oid)
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname not in ('pg_catalog', 'information_schema')
 order by 1, 2

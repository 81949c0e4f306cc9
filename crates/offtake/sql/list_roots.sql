-- The tables, by schema and name, to which the relations $1 (schemas) and $2 (names) belong: for a
-- partition its root, otherwise the relation itself. Left out is what is captured with one of the
-- tables $3 (schemas) and $4 (names): these tables themselves, their partitions, and tables that
-- inherit from them. captured: a trigger can capture its changes, so it can be declared.
with recursive family (oid, ancestor) as (
  select r.oid, r.oid
    from unnest($1::text[], $2::text[]) as given (schema_name, table_name)
    join pg_catalog.pg_namespace g on g.nspname = given.schema_name
    join pg_catalog.pg_class r on r.relnamespace = g.oid and r.relname = given.table_name
  union
  select f.oid, i.inhparent from family f join pg_catalog.pg_inherits i on i.inhrelid = f.ancestor
), captured as (
  select f.oid
    from family f
    join pg_catalog.pg_class a on a.oid = f.ancestor
    join pg_catalog.pg_namespace n on n.oid = a.relnamespace
    join unnest($3::text[], $4::text[]) as named (schema_name, table_name) on named.schema_name = n.nspname and named.table_name = a.relname
)
select distinct n.nspname::text as schema_name, c.relname::text as table_name, c.relkind in ('r', 'p') as captured
  from family r
  join pg_catalog.pg_class c on c.oid = coalesce(pg_catalog.pg_partition_root(r.oid), r.oid)
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname not in ('pg_catalog', 'information_schema')
 where r.oid not in (select oid from captured)
 order by 1, 2

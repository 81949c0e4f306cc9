-- The foreign keys of some tables and to them. $1 oid[] the tables. `child_in`, `parent_in`: places in
-- $1 (from 0) of the table itself or of the table that it is a partition of; null: it is none of them.
-- `waits_at_deletion`: a row may be deleted, and rows that refer to it changed later. An action such as
-- `cascade` is taken at once, also where the key is deferrable.
-- The copies of one that the server keeps for partitions are left out. No lock.
with given as (
  select oid, (at - 1)::int4 as at from pg_catalog.unnest($1::oid[]) with ordinality given (oid, at)
), above as (
  select c.oid, (
           select g.at from pg_catalog.pg_partition_ancestors(c.oid) a
             join given g on g.oid = a.relid limit 1) as at
    from pg_catalog.pg_class c where c.relispartition
  union all
  select g.oid, g.at from given g join pg_catalog.pg_class c on c.oid = g.oid and not c.relispartition
), found as (
  select f.*, (select a.at from above a where a.oid = f.conrelid) as child_in,
         (select a.at from above a where a.oid = f.confrelid) as parent_in
    from pg_catalog.pg_constraint f
   where f.contype = 'f'
)
select f.conname::text as name, f.child_in, f.parent_in,
       cn.nspname::text as child_schema, c.relname::text as child_name,
       pn.nspname::text as parent_schema, p.relname::text as parent_name,
       f.condeferrable as deferrable, f.condeferrable and f.confdeltype = 'a' as waits_at_deletion,
       array(
         select a.attname::text
           from pg_catalog.unnest(f.conkey) with ordinality k (attnum, place)
           join pg_catalog.pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.attnum
          order by place) as child_columns,
       array(
         select a.attname::text
           from pg_catalog.unnest(f.confkey) with ordinality k (attnum, place)
           join pg_catalog.pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.attnum
          order by place) as parent_columns,
       array(
         select pg_catalog.format('operator(%I.%s)', own.nspname, o.oprname)
           from pg_catalog.unnest(f.conpfeqop) with ordinality k (op, place)
           join pg_catalog.pg_operator o on o.oid = k.op
           join pg_catalog.pg_namespace own on own.oid = o.oprnamespace
          order by place) as equals
  from found f
  join pg_catalog.pg_class c on c.oid = f.conrelid
  join pg_catalog.pg_namespace cn on cn.oid = c.relnamespace
  join pg_catalog.pg_class p on p.oid = f.confrelid
  join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
 where (f.child_in is not null or f.parent_in is not null)
   and not exists (
         select from found above
          where above.oid = f.conparentid
            and above.child_in is not distinct from f.child_in
            and above.parent_in is not distinct from f.parent_in)
 order by cn.nspname, c.relname, f.conname

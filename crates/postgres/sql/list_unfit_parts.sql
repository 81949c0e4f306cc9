-- Relations whose rows would be lost to a copy without any trigger firing, among the tables that
-- mappings name and everything that inherits from them (partitions of every level): foreign tables,
-- and unlogged tables, which a crash of the server empties. $1: schemas, $2: tables, by position.
-- `remedy` makes an unlogged table logged, after the unlogged tables that its foreign keys refer
-- to, because Postgres asks for that order. Walks pg_inherits by its parent index, pg_constraint by
-- its relation; takes no lock on the tables.
with recursive part as (
  select w.position, c.oid, 0 as depth
    from unnest($1::text[], $2::text[]) with ordinality as w (schema_name, table_name, position)
    join pg_namespace n on n.nspname = w.schema_name
    join pg_class c on c.relnamespace = n.oid and c.relname = w.table_name
  union
  select p.position, i.inhrelid, p.depth + 1
    from part p
    join pg_inherits i on i.inhparent = p.oid
), unfit as (
  select p.position, p.depth, c.oid, n.nspname || '.' || c.relname as name, c.relkind = 'f' as is_foreign, c.relispartition as is_partition
    from part p
    join pg_class c on c.oid = p.oid
    join pg_namespace n on n.oid = c.relnamespace
   where (c.relkind = 'f' and p.depth > 0) or (c.relkind = 'r' and c.relpersistence = 'u')
), referenced as (
  select u.oid as by_relation, u.oid, 0 as depth from unfit u where not u.is_foreign
  union
  select r.by_relation, k.confrelid, r.depth + 1
    from referenced r
    join pg_constraint k on k.conrelid = r.oid and k.contype = 'f' and k.confrelid <> k.conrelid
    join pg_class c on c.oid = k.confrelid and c.relpersistence = 'u'
   where r.depth < 16
)
select u.position::int4 as position, u.name, u.is_foreign, u.is_partition, u.depth > 0 as is_part,
       (select string_agg(format('alter table %I.%I set logged;', n.nspname, c.relname), ' ' order by r.depth desc, n.nspname, c.relname)
          from (select oid, max(depth) as depth from referenced where by_relation = u.oid group by oid) r
          join pg_class c on c.oid = r.oid
          join pg_namespace n on n.oid = c.relnamespace) as remedy
  from unfit u
 order by u.position, u.depth, u.name

-- The relations whose triggers cover each captured table: the table itself first, then everything that inherits from
-- it (partitions of every level), which can be written to directly.
-- $1: schemas, $2: tables, by position. A table that does not exist gives no row.
-- What `attached` says is only ever compared: a partition that left and came back has rows of pg_inherits with another xmin.
-- Walks pg_inherits by its parent index and its key; takes no lock on the relations.
with recursive covered as (
  select w.position, c.oid, 0 as depth
    from unnest($1::text[], $2::text[]) with ordinality as w (schema_name, table_name, position)
    join pg_catalog.pg_namespace n on n.nspname = w.schema_name
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.table_name
  union
  select r.position, i.inhrelid, r.depth + 1
    from covered r
    join pg_catalog.pg_inherits i on i.inhparent = r.oid
)
select r.position::int4 as position, r.oid, n.nspname::text as schema_name, c.relname::text as table_name,
       c.relkind::text as kind, r.depth,
       case when r.depth > 0 then (select pg_catalog.string_agg(pg_catalog.format('%s@%s', i.inhparent, i.xmin), ' ' order by i.inhseqno)
                                     from pg_catalog.pg_inherits i
                                    where i.inhrelid = r.oid)
       end as attached
  from covered r
  join pg_catalog.pg_class c on c.oid = r.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 order by r.position, r.depth, n.nspname, c.relname

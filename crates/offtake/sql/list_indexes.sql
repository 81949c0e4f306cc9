-- The relations of table $1 (quoted for SQL): the table itself, its partitions or its children.
-- Each with its usable indexes and their columns in order (null for an expression). One row per
-- index, and one for a relation without any. empty: it has no page.
with recursive tree as (
  select $1::text::regclass::oid as relid
   union
  select i.inhrelid from tree join pg_catalog.pg_inherits i on i.inhparent = tree.relid
)
select c.relname::text as relation, format('%I.%I', n.nspname, c.relname) as name,
       parent.relkind = 'p' as partitioned, pg_relation_size(c.oid) = 0 as empty, x.relname::text as index,
       array(select a.attname::text
               from unnest(i.indkey::int2[]) with ordinality k (attnum, position)
               left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum and k.attnum > 0
              where k.position <= i.indnkeyatts order by k.position) as columns
  from tree
  join pg_catalog.pg_class parent on parent.oid = $1::text::regclass
  join pg_catalog.pg_class c on c.oid = tree.relid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisvalid
  left join pg_catalog.pg_class x on x.oid = i.indexrelid
 order by tree.relid, x.relname

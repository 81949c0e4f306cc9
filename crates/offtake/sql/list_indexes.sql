-- The relations of table $1 (quoted for SQL): the table itself and its partitions, each with its
-- usable indexes and their columns in order (null for an expression). One row per index, and one
-- for a relation without any.
select c.relname::text as relation, parent.relkind = 'p' as partitioned, x.relname::text as index,
       array(select a.attname::text
               from unnest(i.indkey::int2[]) with ordinality k (attnum, position)
               left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum and k.attnum > 0
              where k.position <= i.indnkeyatts order by k.position) as columns
  from pg_catalog.pg_class parent
 cross join lateral (select parent.oid as relid union select relid from pg_catalog.pg_partition_tree(parent.oid)) tree
  join pg_catalog.pg_class c on c.oid = tree.relid
  left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisvalid
  left join pg_catalog.pg_class x on x.oid = i.indexrelid
 where parent.oid = $1::text::regclass

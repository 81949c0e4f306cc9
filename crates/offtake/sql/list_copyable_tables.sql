-- The tables of the source that hold rows, each with a key that tells its rows apart: the primary
-- key, otherwise the unique index over the fewest columns that take no NULL, the one with the lowest
-- number first. Without one, `key` is empty, and `almost` has the columns of a unique index that
-- could be one if they took no NULL. Partitions belong to their table; tables of extensions and
-- those in Offtake's schema are left out. `bytes` is the table with its indexes.
select n.nspname::text as schema, c.relname::text as name, quote_ident(current_user) as role,
       c.relkind = 'p' as partitioned,
       has_schema_privilege(n.oid, 'usage') as may_enter, has_table_privilege(c.oid, 'select') as may_read,
       (select coalesce(sum(pg_total_relation_size(t.relid)), 0)::bigint
          from pg_partition_tree(c.oid) t) + case when c.relkind = 'r' then pg_total_relation_size(c.oid) else 0 end as bytes,
       coalesce(k.columns, '{}') as key, coalesce(a.columns, '{}') as almost,
       array(select a.attname::text from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns,
       array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as types,
       array(select t.typcategory = 'A' from pg_attribute a join pg_type t on t.oid = a.atttypid
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as arrays
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join lateral (
    select i.columns from (
      select x.indisprimary, x.indnkeyatts, x.indexrelid,
             array(select a.attname::text from unnest(x.indkey::int2[]) with ordinality k (attnum, at)
                     join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
                    where k.at <= x.indnkeyatts order by k.at) as columns,
             (select bool_and(a.attnotnull) from unnest(x.indkey::int2[]) with ordinality k (attnum, at)
                left join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
               where k.at <= x.indnkeyatts) as complete
        from pg_index x
       where x.indrelid = c.oid and x.indisunique and x.indisvalid and x.indpred is null
         and x.indexprs is null and x.indimmediate
    ) i where i.complete order by i.indisprimary desc, i.indnkeyatts, i.indexrelid limit 1
  ) k on true
  left join lateral (
    select array(select a.attname::text from unnest(x.indkey::int2[]) with ordinality k (attnum, at)
                   join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
                  where k.at <= x.indnkeyatts order by k.at) as columns
      from pg_index x
     where x.indrelid = c.oid and x.indisunique and x.indisvalid and x.indpred is null
       and x.indexprs is null
     order by x.indnkeyatts, x.indexrelid limit 1
  ) a on true
 where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
   and n.nspname not in ('information_schema', 'offtake') and n.nspname !~ '^pg_'
   and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by 1, 2

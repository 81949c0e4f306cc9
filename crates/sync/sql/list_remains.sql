-- Runs at a destination: the tables of schema $1 that Offtake made, each with its mapping's name,
-- whether it has the tenant of each row (column $2), and the tables that hold its rows: itself, or
-- the last partitions. The state table is left out: see list_marked_tables.sql.
select format('%I.%I', n.nspname, c.relname) as name, substring(d.description from 9) as mapping,
       exists (select from pg_catalog.pg_attribute a
                where a.attrelid = c.oid and a.attname = $2 and a.attnum > 0 and not a.attisdropped) as keeps_tenant,
       case c.relkind when 'r' then array[format('%I.%I', n.nspname, c.relname)]
         else array(select format('%I.%I', pn.nspname, p.relname)
                      from pg_catalog.pg_partition_tree(c.oid) t
                      join pg_catalog.pg_class p on p.oid = t.relid
                      join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
                     where t.isleaf order by 1) end as leaves
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_description d on d.objoid = c.oid and d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid = 0
 where n.nspname = $1 and c.relkind in ('r', 'p') and d.description like 'offtake:%' and d.description not like 'offtake: %'
 order by c.relname

-- Runs at a destination: the tables of schema $1 that Offtake made, each with its mapping's name
-- and the planner's estimate of its rows. The state table is left out: its comment has a blank
-- after the colon, and no mapping's name begins with one.
select c.relname::text as name, substring(d.description from 9) as mapping, greatest(c.reltuples, 0)::bigint as rows
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_description d on d.objoid = c.oid and d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid = 0
 where n.nspname = $1 and c.relkind in ('r', 'p') and d.description like 'offtake:%' and d.description not like 'offtake: %'
 order by c.relname

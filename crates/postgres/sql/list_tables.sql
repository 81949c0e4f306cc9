-- The application's tables that the current role may find, by name; so many are enough to suggest
-- one.
select n.nspname || '.' || c.relname
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and n.nspname not like 'pg\_%' and n.nspname not in ('information_schema', 'offtake')
 order by 1
 limit 10000

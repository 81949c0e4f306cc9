-- A relation of the schema offtake whose owner's rights the current role does not have, and the
-- owner; no row where it has them for all relations. The daemon needs them to add and drop
-- partitions. Role and owner are quoted for SQL.
select pg_catalog.quote_ident(current_user) as role, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) as owner,
       pg_catalog.min(c.relname::text) as relation
  from pg_catalog.pg_class c
 where c.relnamespace = 'offtake'::regnamespace and c.relkind in ('r', 'p') and not pg_catalog.pg_has_role(c.relowner, 'usage')
 group by c.relowner
 order by 2
 limit 1

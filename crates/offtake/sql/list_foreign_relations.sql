-- Who owns relations of the schema offtake that the current role may not change: the daemon adds
-- and drops partitions of its log. Every name is as SQL writes it.
select pg_catalog.quote_ident(current_user) as role, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) as owner,
       pg_catalog.min(c.relname::text) as relation
  from pg_catalog.pg_class c
 where c.relnamespace = 'offtake'::regnamespace and c.relkind in ('r', 'p') and not pg_catalog.pg_has_role(c.relowner, 'usage')
 group by c.relowner
 order by 2
 limit 1

-- Who owns relations of the schema offtake that the current role has not the rights for: the daemon
-- adds and drops partitions of its log, so the tables must be its own; views it only reads. One
-- row, with one of that owner's relations as the example. Every name is as SQL writes it.
select pg_catalog.quote_ident(current_user) as role, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) as owner,
       pg_catalog.min(c.relname::text) as relation
  from pg_catalog.pg_class c
 where c.relnamespace = 'offtake'::regnamespace and c.relkind in ('r', 'p', 'v')
   and not case c.relkind when 'v' then pg_catalog.has_table_privilege(c.oid, 'select')
                          else pg_catalog.pg_has_role(c.relowner, 'usage') end
 group by c.relowner
 order by 2
 limit 1

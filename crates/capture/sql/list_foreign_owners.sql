-- The owners of relations $1 (oid[]) whose rights the current role does not have, each with its
-- relations. Names are quoted for use in SQL. Reads pg_class by its key; takes no lock on the
-- relations.
select pg_catalog.quote_ident(o.rolname) as owner, o.rolsuper as superuser,
       pg_catalog.array_agg(pg_catalog.format('%I.%I', n.nspname, c.relname) order by n.nspname, c.relname) as relations
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_roles o on o.oid = c.relowner
 where c.oid = any($1) and not pg_catalog.pg_has_role(c.relowner, 'usage')
 group by o.rolname, o.rolsuper
 order by o.rolname

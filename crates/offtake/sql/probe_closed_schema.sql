-- A row where the schema offtake exists and the current role may not use it. The names are quoted
-- for SQL.
select pg_catalog.quote_ident(current_user) as role, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(n.nspowner)) as owner
  from pg_catalog.pg_namespace n
 where n.nspname = 'offtake' and not pg_catalog.has_schema_privilege(n.oid, 'usage')

-- The current role's rights at the source that installing and removing capture need. $1 text: the
-- role that owns the capture functions. Names are
-- quoted for use in SQL. For a superuser, pg_has_role and the has_ functions are always true.
select pg_catalog.quote_ident(current_user) as role,
       pg_catalog.quote_ident(pg_catalog.current_database()) as database,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') as may_create_schema,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'temporary') as may_create_temporary,
       r.rolsuper or r.rolcreaterole as may_create_role,
       (select pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(n.nspowner))
          from pg_catalog.pg_namespace n where n.nspname = 'offtake') as schema_owner,
       (select pg_catalog.pg_has_role(n.nspowner, 'usage') from pg_catalog.pg_namespace n where n.nspname = 'offtake') as owns_schema,
       (select pg_catalog.pg_has_role(c.oid, 'usage') from pg_catalog.pg_roles c where c.rolname = $1) as owns_functions
  from pg_catalog.pg_roles r
 where r.rolname = current_user

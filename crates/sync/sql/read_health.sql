-- The settings of a destination's server that matter to a session that writes there, its clock, and
-- the session's role, in one row. Every name is qualified: the schemas there are a stranger's. No
-- parameters; no locks.
select pg_catalog.current_setting('server_version') as version,
       pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as version_number,
       pg_catalog.pg_is_in_recovery() or pg_catalog.current_setting('transaction_read_only') operator(pg_catalog.=) 'on' as read_only,
       pg_catalog.current_setting('session_replication_role') operator(pg_catalog.=) 'replica' as fires_no_triggers,
       r.rolsuper as superuser, pg_catalog.quote_ident(r.rolname) as role,
       extract(epoch from pg_catalog.clock_timestamp())::pg_catalog.float8 as clock
  from pg_catalog.pg_roles r
 where r.rolname operator(pg_catalog.=) current_user

-- What of the source's server matters to Offtake, in one row. Settings are those that a new session
-- of this role gets, not those of the session that asks. A setting that this server does not have is
-- null. No parameters; catalogs and statistics only.
select current_setting('server_version') as version, clock_timestamp() as clock,
       quote_ident(current_user) as role, r.rolsuper, r.rolreplication,
       pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_sessions,
       (select jsonb_object_agg(name, reset_val) from pg_settings
         where name in ('autovacuum', 'track_counts', 'fsync', 'full_page_writes', 'statement_timeout', 'transaction_timeout',
                        'idle_session_timeout')) as settings,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as connections_max,
       (select count(*) from pg_stat_activity
         where backend_type = 'client backend' and not (datname = current_database() and application_name like 'offtake%'))
         as connections_of_others
  from pg_roles r
 where r.rolname = current_user

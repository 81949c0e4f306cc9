-- The sessions of daemons on this database; everyone may see their application's name.
select pg_catalog.count(*) from pg_catalog.pg_stat_activity
 where datname = pg_catalog.current_database() and application_name = 'offtake' and pid <> pg_catalog.pg_backend_pid()

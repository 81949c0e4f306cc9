-- Counts the sessions that daemons have on this database. Those of commands have other names. Every
-- role may read application_name.
select pg_catalog.count(*) from pg_catalog.pg_stat_activity
 where datname = pg_catalog.current_database() and application_name = 'offtake' and pid <> pg_catalog.pg_backend_pid()

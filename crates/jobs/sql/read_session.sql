-- What a session has set by itself, before its transaction is given other settings; the names are $1
-- text[]. `fires`: triggers and foreign keys do their work in it. No table is read.
select array(select name from pg_catalog.pg_settings where name = any ($1::text[]) order by name) as names,
       array(select setting from pg_catalog.pg_settings where name = any ($1::text[]) order by name) as settings,
       pg_catalog.current_setting('session_replication_role') <> 'replica' as fires,
       pg_catalog.pg_backend_pid() as process

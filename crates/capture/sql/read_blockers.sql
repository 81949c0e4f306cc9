-- Sessions that hold a lock on relation $1 (oid) and so keep a trigger from being created or
-- dropped there; at most 5. The text of their statements is left out, because it may contain
-- values.
select l.pid, coalesce(a.usename::text, '?') as user_name, coalesce(nullif(a.application_name, ''), '?') as application_name,
       coalesce(a.state, '?') as state, coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::int8 as seconds, l.mode
  from pg_catalog.pg_locks l
  left join pg_catalog.pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'relation'
   and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
   and l.relation = $1
   and l.granted
   and l.pid <> pg_catalog.pg_backend_pid()
   and l.mode <> 'AccessShareLock'
 order by a.xact_start
 limit 5

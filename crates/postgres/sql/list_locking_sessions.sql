-- Sessions that hold the lock with which nothing can be read of a relation, or wait for it, as ALTER
-- TABLE does: both keep our question waiting. Those of the relations in $1 (text[]: tables as SQL
-- writes them) come first, then the oldest transactions; at most 3. The text of their statements is
-- left out, because it may contain values. Takes no lock.
select l.relation::regclass::text as relation, l.pid, coalesce(a.usename::text, '?') as user_name,
       coalesce(nullif(a.application_name, ''), '?') as application_name, coalesce(a.state, '?') as state,
       coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::int8 as seconds
  from pg_catalog.pg_locks l
  left join pg_catalog.pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'relation'
   and l.mode = 'AccessExclusiveLock'
   and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
   and l.pid <> pg_catalog.pg_backend_pid()
   and exists (select from pg_catalog.pg_class c where c.oid = l.relation and c.relkind in ('r', 'p', 'v', 'm', 'f'))
 order by l.relation = any (select pg_catalog.to_regclass(t)::oid from pg_catalog.unnest($1::text[]) t) desc, a.xact_start, l.pid
 limit 3

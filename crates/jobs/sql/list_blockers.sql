-- Sessions for whose locks the server process $1 (int4) waits now; at most 5. The text of their
-- statements is left out, because it may contain values. Takes no lock.
select b.pid, coalesce(a.usename::text, '?') as user_name,
       coalesce(nullif(a.application_name, ''), '?') as application_name,
       coalesce(a.state, '?') as state,
       coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::int8 as seconds
  from pg_catalog.unnest(pg_catalog.pg_blocking_pids($1::int4)) b (pid)
  left join pg_catalog.pg_stat_activity a on a.pid = b.pid
 order by a.xact_start, b.pid
 limit 5

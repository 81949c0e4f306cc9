-- What holds back vacuum in this database for longer than $1 float8 seconds: transactions of
-- sessions, prepared transactions, and inactive replication slots (their age is not known, so all
-- are listed). The worst first. A role without pg_read_all_stats does not see when other roles'
-- transactions began. `holder` is the process, the transaction's name or the slot's name; `ended_by`
-- is the statement that ends it.
select kind, holder, detail, seconds, bytes, ended_by
  from (select 'session' as kind, pid::text as holder,
               concat_ws(', ', usename, nullif(application_name, ''), state) as detail,
               extract(epoch from clock_timestamp() - xact_start)::float8 as seconds, null::bigint as bytes,
               format('select pg_terminate_backend(%s);', pid) as ended_by
          from pg_stat_activity
         where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
           and (backend_xmin is not null or backend_xid is not null)
           and xact_start < clock_timestamp() - $1::float8 * interval '1 second'
         union all
        select 'prepared', gid, owner::text, extract(epoch from clock_timestamp() - prepared)::float8, null,
               format('rollback prepared %L;', gid)
          from pg_prepared_xacts
         where database = current_database() and prepared < clock_timestamp() - $1::float8 * interval '1 second'
         union all
        select 'slot', slot_name::text, concat_ws(', ', slot_type, case when xmin is not null or catalog_xmin is not null then 'holds rows' end),
               null, case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint end,
               format('select pg_drop_replication_slot(%L);', slot_name)
          from pg_replication_slots
         where not active and (xmin is not null or catalog_xmin is not null or restart_lsn is not null)) held
 order by seconds desc nulls last, holder
 limit 50

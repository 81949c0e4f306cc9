-- Whether another session, in this very database of this server, holds the advisory lock $1 (int8).
-- Takes no lock.
select exists (
  select from pg_catalog.pg_locks
   where locktype = 'advisory' and granted and objsubid = 1
     and database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
     and ((classid::int8 << 32) | objid::int8) = $1)

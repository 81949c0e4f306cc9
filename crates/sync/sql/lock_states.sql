-- Locks the tenant's cursors for the rest of the transaction; this is the fence between workers. $1
-- tenant, $2 text[] mappings and $3 text[] their tables, quoted and qualified. {state} is the state
-- table. identity changes when the table is truncated, rewritten or replaced: then the cursor says
-- nothing about it. The tenant may have altered the table: what is not there is a cursor that
-- stands nowhere, and the copy begins again. written: see move_cursors.sql.
select s.mapping::text as mapping, coalesce(sequence_id::bigint, -1) as sequence_id, coalesce(backfilled::boolean, false) as backfilled,
       backfill_key::text as backfill_key, coalesce(epoch::text, '') as epoch, coalesce(version::text, '') as version, s.xmin::text as written,
       pg_backend_pid() as backend, current_setting('server_encoding') not in ('UTF8', 'SQL_ASCII') as converts,
       target.identity, coalesce(target.alters, false) as alters
  from {state} s
  left join lateral (
    select c.oid::text || ':' || c.relfilenode as identity,
           c.relkind <> 'r' or c.relhasrules
           or c.relhastriggers and exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal) as alters
      from unnest($2::text[], $3::text[]) given (mapping, name)
      join pg_class c on c.oid = to_regclass(given.name)
     where given.mapping = s.mapping
  ) target on true
 where tenant_id = $1 and s.mapping is not null order by s.mapping for update of s

-- Locks the cursors of several tenants for the rest of the transaction, as lock_states.sql does
-- those of one; see there. $1 text[] tenants, $2 text[] mappings, $3 text[] their tables, quoted and
-- qualified. Leaves out what another worker holds: the others do not wait for it. Locks in the order
-- of the key, so that two workers cannot wait for each other. Reads through the primary key.
with tables as materialized (
  select given.mapping, c.oid::text || ':' || c.relfilenode as identity,
         c.relkind <> 'r' or c.relhasrules
         or c.relhastriggers and exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal) as alters
    from unnest($2::text[], $3::text[]) given (mapping, name)
    join pg_class c on c.oid = to_regclass(given.name)
)
select s.tenant_id::text as tenant_id, s.mapping::text as mapping, coalesce(sequence_id::bigint, -1) as sequence_id,
       coalesce(backfilled::boolean, false) as backfilled, backfill_key::text as backfill_key, coalesce(epoch::text, '') as epoch,
       coalesce(version::text, '') as version, s.xmin::text as written,
       pg_backend_pid() as backend, current_setting('server_encoding') not in ('UTF8', 'SQL_ASCII') as converts,
       (select identity from tables where tables.mapping = s.mapping) as identity,
       coalesce((select alters from tables where tables.mapping = s.mapping), false) as alters
  from {state} s
 where s.tenant_id = any($1) and s.mapping is not null order by s.tenant_id, s.mapping for update of s skip locked

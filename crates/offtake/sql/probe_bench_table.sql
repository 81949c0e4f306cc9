-- Whether, and with which rows, `offtake bench capture` can measure a table. $1 text: the schema,
-- $2 text: the table. One row, also where there is no such table. Reads the catalog and the sizes
-- of the table's files; takes no lock on the table beyond that of asking for its size.
-- `size` and `row_count` (as last analysed) include partitions. `columns` are those that a row is
-- given values for, `calm` those of them that no index has: an update of one of these may be HOT.
-- `publications` publish every table of the database, also one that is created now.
with recursive tree as (
  select c.oid, c.relkind
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where n.nspname = $1 and c.relname = $2
  union
  select i.inhrelid, c.relkind
    from tree t
    join pg_catalog.pg_inherits i on i.inhparent = t.oid and t.relkind = 'p'
    join pg_catalog.pg_class c on c.oid = i.inhrelid
), root as (
  select c.*
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where n.nspname = $1 and c.relname = $2
)
select (select r.relkind::text from root r) as kind,
       coalesce((select pg_catalog.has_table_privilege(r.oid, 'select') from root r), false) as may_read,
       coalesce((select pg_catalog.sum(pg_catalog.pg_table_size(t.oid)) from tree t), 0)::int8 as size,
       coalesce((select pg_catalog.sum(c.reltuples) filter (where c.reltuples > 0)
                   from tree t join pg_catalog.pg_class c on c.oid = t.oid), 0)::float8 as row_count,
       coalesce((select r.reloptions from root r), '{}')::text[] as storage,
       coalesce((select pg_catalog.array_agg(a.attname::text order by a.attnum)
                   from root r
                   join pg_catalog.pg_attribute a on a.attrelid = r.oid
                  where a.attnum > 0 and not a.attisdropped and a.attgenerated = ''), '{}') as columns,
       coalesce((select pg_catalog.array_agg(a.attname::text order by a.attnum)
                   from root r
                   join pg_catalog.pg_attribute a on a.attrelid = r.oid
                  where a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                    and not exists (select from pg_catalog.pg_index i
                                     where i.indrelid = r.oid and a.attnum = any(i.indkey))), '{}') as calm,
       pg_catalog.quote_ident(current_user) as role,
       pg_catalog.quote_ident(pg_catalog.current_database()) as database,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') as may_create,
       pg_catalog.current_setting('transaction_read_only')::boolean as read_only,
       coalesce((select pg_catalog.array_agg(p.pubname::text order by p.pubname)
                   from pg_catalog.pg_publication p where p.puballtables), '{}') as publications,
       (select pg_catalog.count(*)
          from pg_catalog.pg_replication_slots s
         where s.slot_type = 'logical' and s.database = pg_catalog.current_database()) as slots,
       coalesce((select pg_catalog.array_agg(n.nspname::text order by n.nspname)
                   from pg_catalog.pg_namespace n
                  where n.nspname like 'offtake\_bench\_%'), '{}') as left_over

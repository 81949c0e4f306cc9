-- The relations whose triggers cover each captured table: the table itself first, then everything
-- that inherits from it (partitions of every level), because a partition can be written to
-- directly. $1: schemas, $2: tables, $3: their capture functions, by position. A table that does
-- not exist gives no row. Temporary children are left out: only their own session sees their rows.
-- `through_others`: rows get there by statements that name a relation outside the captured table
-- (a parent that it does not cover), or by the apply worker of a subscription. Neither fires a
-- statement-level trigger there. `triggers` has those that run the table's
-- functions. The functions' comments are read in the same snapshot, so that the work
-- of a concurrent installer is seen either whole or not at all. `attached`, `triggers` and
-- `columns` are only compared with earlier values: a catalog row that was deleted and written again
-- has another xmin, which VACUUM keeps. `numbers` has only the columns of the table itself, because
-- columns of a partition cannot be dropped or renamed without it. Walks pg_inherits by its parent
-- index and its key, pg_trigger and pg_attribute by their relation; takes no lock on the relations.
with recursive covered as (
  select w.position, c.oid, 0 as depth, w.function_name
    from unnest($1::text[], $2::text[], $3::text[]) with ordinality as w (schema_name, table_name, function_name, position)
    join pg_catalog.pg_namespace n on n.nspname = w.schema_name
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.table_name
  union
  select r.position, i.inhrelid, r.depth + 1, r.function_name
    from covered r
    join pg_catalog.pg_inherits i on i.inhparent = r.oid
    join pg_catalog.pg_class c on c.oid = i.inhrelid and c.relpersistence <> 't'
)
select r.position::int4 as position, r.oid, n.nspname::text as schema_name, c.relname::text as table_name,
       c.relkind::text as kind, r.depth,
       exists (select
                 from pg_catalog.pg_inherits i
                where i.inhrelid = r.oid
                  and not exists (select from covered other where other.position = r.position and other.oid = i.inhparent))
         or exists (select from pg_catalog.pg_subscription_rel s where s.srrelid = r.oid) as through_others,
       case when r.depth > 0 then (select pg_catalog.string_agg(pg_catalog.format('%s@%s', i.inhparent, i.xmin), ' ' order by i.inhseqno)
                                     from pg_catalog.pg_inherits i
                                    where i.inhrelid = r.oid)
       end as attached,
       (select pg_catalog.string_agg(pg_catalog.format('%s@%s', t.tgname, t.xmin), ' ' order by t.tgname)
          from pg_catalog.pg_trigger t
          join pg_catalog.pg_proc p on p.oid = t.tgfoid and p.proname in (r.function_name, r.function_name || '_rows')
          join pg_catalog.pg_namespace f on f.oid = p.pronamespace and f.nspname = 'offtake'
         where t.tgrelid = r.oid
       ) as triggers,
       (select pg_catalog.string_agg(pg_catalog.format('%s@%s', a.attnum, a.xmin), ' ' order by a.attnum)
          from pg_catalog.pg_attribute a
         where a.attrelid = r.oid
           and a.attnum > 0
       ) as columns,
       case when r.depth = 0 then (select pg_catalog.jsonb_object_agg(a.attname, a.attnum)::text
                                     from pg_catalog.pg_attribute a
                                    where a.attrelid = r.oid
                                      and a.attnum > 0
                                      and not a.attisdropped)
       end as numbers,
       c.relfilenode as file,
       (select d.description
          from pg_catalog.pg_proc p
          join pg_catalog.pg_namespace f on f.oid = p.pronamespace and f.nspname = 'offtake'
          join pg_catalog.pg_description d on d.objoid = p.oid and d.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass
         where p.proname = r.function_name
       ) as comment
  from covered r
  join pg_catalog.pg_class c on c.oid = r.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 order by r.position, r.depth, n.nspname, c.relname

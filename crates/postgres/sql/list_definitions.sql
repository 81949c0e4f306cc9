-- The views that a query reads, also through other views, and the application's functions that it
-- or these views call. $1: schemas (null where none is written), $2: names, of whatever the query
-- names; $3, $4: the same of what it calls. Read under the search path that the query runs with. A
-- name that means nothing of the kind gives no row. What an extension brings is left out: only a
-- new version of the extension changes it. Walks pg_class and pg_proc by name, pg_rewrite and
-- pg_depend by their keys; takes no lock on the relations.
with recursive found as (
  select 'pg_class'::regclass as class, c.oid
    from unnest($1::text[], $2::text[]) as w (schema_name, relation_name)
    join pg_class c on c.relname = w.relation_name and c.relkind = 'v'
    join pg_namespace n on n.oid = c.relnamespace
   where case when w.schema_name is null then pg_table_is_visible(c.oid) else n.nspname = w.schema_name end
  union
  select 'pg_proc'::regclass, p.oid
    from unnest($3::text[], $4::text[]) as w (schema_name, function_name)
    join pg_proc p on p.proname = w.function_name
    join pg_namespace n on n.oid = p.pronamespace
   where case when w.schema_name is null then pg_function_is_visible(p.oid) else n.nspname = w.schema_name end
  union
  select d.refclassid, d.refobjid
    from found f
    join pg_rewrite w on f.class = 'pg_class'::regclass and w.ev_class = f.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
   where d.refclassid in ('pg_class'::regclass, 'pg_proc'::regclass)
)
select f.class = 'pg_class'::regclass as is_view, f.oid
  from found f
  left join pg_class c on f.class = 'pg_class'::regclass and c.oid = f.oid
  left join pg_proc p on f.class = 'pg_proc'::regclass and p.oid = f.oid
 where (c.relkind = 'v' or p.prokind in ('f', 'w'))
   and coalesce(c.relnamespace, p.pronamespace) not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
   and not exists (select from pg_depend e where e.classid = f.class and e.objid = f.oid and e.deptype = 'e')

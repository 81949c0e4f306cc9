-- Which of the functions that a tenant's expression calls may read tables: those of the application
-- that are not immutable, one row per call that can only mean such a one. $1: schemas (null where
-- none is written), $2: names, by position. Read under search_path = pg_catalog, as the trigger
-- runs.
select w.position::int4 as position,
       min(p.oid::regprocedure::text) as signature
  from unnest($1::text[], $2::text[]) with ordinality as w (schema_name, function_name, position)
  join pg_proc p on p.proname = w.function_name
  join pg_namespace n on n.oid = p.pronamespace
 where case when w.schema_name is null then pg_function_is_visible(p.oid) else n.nspname = w.schema_name end
   and n.nspname <> 'pg_catalog'
   -- A function of an extension reads no table of the application's.
   and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
 group by w.position
having bool_and(p.provolatile <> 'i')
 order by w.position

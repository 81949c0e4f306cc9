-- One text of what views $1 (oid[]) and functions $2 (oid[]) do. Read under search_path =
-- pg_catalog, so that every name in it has its schema, and one definition has one text.
select coalesce(string_agg(d.definition, E'\n' order by d.definition collate "C"), '') as definitions
  from (
    select format('%s %s', v::regclass, pg_get_viewdef(v)) as definition
      from unnest($1::oid[]) v
    union all
    select format('%s %s %s %s', p.oid::regprocedure, p.prosrc, pg_get_function_sqlbody(p.oid), p.proconfig)
      from pg_proc p
     where p.oid = any($2::oid[])
  ) d

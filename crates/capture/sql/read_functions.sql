-- Offtake's capture functions that are installed. `notes`: whether the function has a comment.
select p.proname::text as name, p.prosrc as body, p.prosecdef as security_definer, coalesce(p.proconfig, '{}') as settings,
       pg_catalog.pg_get_userbyid(p.proowner)::text as owner, pg_catalog.obj_description(p.oid, 'pg_proc') is not null as notes
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace and n.nspname = 'offtake'
 where p.proname like 'capture\_%'
 order by p.proname

-- Names what a refusal is about, as SQL writes it: the refusal has the bare name only. $1 text: its
-- kind (schema, function, or a kind of relation); $2 text: its name. name is null where the role may
-- use all objects of that name. system: it is the server's own. Of a function, all forms that the
-- role may not call: the refusal does not say which was called. Reads the catalog by its indexes on
-- names.
select named.name, coalesce(named.system, false) as system
  from (select 1) always
  left join lateral (
    select quote_ident($2) as name, $2 = 'pg_catalog' as system where $1 = 'schema'
    union all
    (select string_agg(format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), ', ' order by p.oid),
            n.nspname = 'pg_catalog'
       from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where $1 = 'function' and p.proname = $2 and not has_function_privilege(p.oid, 'execute')
      group by n.oid, n.nspname
      order by bool_or(pg_function_is_visible(p.oid)) desc, n.oid
      limit 1)
    union all
    (select format('%I.%I', n.nspname, c.relname), n.nspname = 'pg_catalog'
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where $1 not in ('schema', 'function') and c.relname = $2 and not has_table_privilege(c.oid, 'select')
      order by pg_table_is_visible(c.oid) desc, c.oid
      limit 1)
  ) named on true

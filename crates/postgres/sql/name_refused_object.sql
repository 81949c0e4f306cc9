-- Names what a refusal is about, as SQL writes it: the refusal has the bare name only. $1 text: its
-- kind (schema, function, or a kind of relation); $2 text: its name. Null: the role may use all
-- objects of that name. Reads the catalog by its indexes on names.
select case $1
       when 'schema' then quote_ident($2)
       when 'function' then (
         select format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
           from pg_proc p join pg_namespace n on n.oid = p.pronamespace
          where p.proname = $2 and not has_function_privilege(p.oid, 'execute')
          order by pg_function_is_visible(p.oid) desc, p.oid
          limit 1)
       else (
         select format('%I.%I', n.nspname, c.relname)
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.relname = $2 and not has_table_privilege(c.oid, 'select')
          order by pg_table_is_visible(c.oid) desc, c.oid
          limit 1)
       end as name

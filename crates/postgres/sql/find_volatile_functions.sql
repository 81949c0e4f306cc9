-- Which of the functions that a query calls are volatile, one row per call that can only mean a
-- volatile one. $1: schemas (null where none is written), $2: names, by position. Read under the
-- search path that the query runs with. A name with a volatile and another meaning is let pass:
-- which of them is called is the parser's secret.
select w.position::int4 as position,
       min(p.oid::regprocedure::text) as signature,
       bool_and(p.pronamespace = 'pg_catalog'::regnamespace) as built_in
  from unnest($1::text[], $2::text[]) with ordinality as w (schema_name, function_name, position)
  join pg_proc p on p.proname = w.function_name
  join pg_namespace n on n.oid = p.pronamespace
 where case when w.schema_name is null then pg_function_is_visible(p.oid) else n.nspname = w.schema_name end
 group by w.position
having bool_and(p.provolatile = 'v')
 order by w.position

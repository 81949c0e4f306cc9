-- What stands between a query and its tables: the views that it reads, also through other views,
-- the application's functions that it or these call, also through other functions, and the tables
-- that these functions name. $1: schemas (null where none is written), $2: names, of whatever the
-- query names; $3, $4: the same of what it calls. Read under the search path that the query runs
-- with. A name that means nothing of the kind gives no row. What an extension brings is left out:
-- only a new version of the extension changes it.
--
-- What a function reads is known for sure only where its body is standard SQL (BEGIN ATOMIC). In
-- other bodies a word counts that is the name of a function, before a parenthesis, or of a relation,
-- behind a comma, a dot, a quote, a parenthesis or a word like FROM; in whatever schema, also inside
-- the text of a statement. So a function may name more than it reads, and hides only names that it
-- puts together. Lines that are comments do not count.
--
-- kind: view, function, table. via: the function that names it; null for what the query or a view
-- of it reads. Walks pg_class and pg_proc by name, pg_rewrite and pg_depend by their keys; takes no
-- lock on the relations.
with recursive found as (
  select 'pg_class'::regclass as class, c.oid, null::oid as via
    from unnest($1::text[], $2::text[]) as w (schema_name, relation_name)
    join pg_class c on c.relname = w.relation_name and c.relkind = 'v'
    join pg_namespace n on n.oid = c.relnamespace
   where case when w.schema_name is null then pg_table_is_visible(c.oid) else n.nspname = w.schema_name end
  union
  select 'pg_proc'::regclass, p.oid, null
    from unnest($3::text[], $4::text[]) as w (schema_name, function_name)
    join pg_proc p on p.proname = w.function_name
    join pg_namespace n on n.oid = p.pronamespace
   where case when w.schema_name is null then pg_function_is_visible(p.oid) else n.nspname = w.schema_name end
     and p.prokind in ('f', 'w') and n.nspname not in ('pg_catalog', 'information_schema')
     and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
  union
  select next.class, next.oid, case when f.class = 'pg_proc'::regclass then f.oid else f.via end
    from found f
   cross join lateral (
     select d.refclassid, d.refobjid
       from pg_rewrite w
       join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
       join pg_class v on v.oid = w.ev_class and v.relkind = 'v'
      where f.class = 'pg_class'::regclass and w.ev_class = f.oid
      union all
     select d.refclassid, d.refobjid
       from pg_depend d
      where f.class = 'pg_proc'::regclass and d.classid = f.class and d.objid = f.oid
      union all
     select 'pg_proc'::regclass, p.oid
       from pg_proc b
      cross join lateral regexp_matches(regexp_replace(b.prosrc, '^\s*--.*$', '', 'gn'), '([[:alpha:]_][[:alnum:]_$]*)"?\s*\(', 'g') m (words)
       join pg_proc p on p.proname in (m.words[1], lower(m.words[1]))
      where f.class = 'pg_proc'::regclass and b.oid = f.oid
      union all
     select 'pg_class'::regclass, c.oid
       from pg_proc b
      cross join lateral regexp_matches(regexp_replace(b.prosrc, '^\s*--.*$', '', 'gn'), '(?:\m(?:from|join|only|table|using)\M\s*|[,(.''"]\s*)"?([[:alpha:]_][[:alnum:]_$]*)', 'gi') m (words)
       join pg_class c on c.relname in (m.words[1], lower(m.words[1]))
      where f.class = 'pg_proc'::regclass and b.oid = f.oid and c.relpersistence <> 't' and c.relnamespace <> coalesce(to_regnamespace('offtake'), 0)
   ) next (class, oid)
    left join pg_class c on next.class = 'pg_class'::regclass and c.oid = next.oid
    left join pg_proc p on next.class = 'pg_proc'::regclass and p.oid = next.oid
   where (c.relkind in ('r', 'p', 'v', 'm', 'f') or p.prokind in ('f', 'w'))
     and coalesce(c.relnamespace, p.pronamespace) not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
     and not exists (select from pg_depend e where e.classid = next.class and e.objid = next.oid and e.deptype = 'e')
)
select case when f.class = 'pg_proc'::regclass then 'function' when c.relkind = 'v' then 'view' else 'table' end as kind,
       f.oid, n.nspname::text as schema_name, c.relname::text as relation_name, f.via::regprocedure::text as via
  from found f
  left join pg_class c on f.class = 'pg_class'::regclass and c.oid = f.oid
  left join pg_proc p on f.class = 'pg_proc'::regclass and p.oid = f.oid
  left join pg_namespace n on n.oid = coalesce(c.relnamespace, p.pronamespace)
 order by kind, schema_name, relation_name, via

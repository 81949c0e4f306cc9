-- What keeps Postgres from altering the types of columns. $1 text: the table, quoted and qualified.
-- $2 text[]: the columns. Returns one name each, as a person knows it. Columns that are generated
-- from others depend on them by themselves (before 15) or by their expression.
select distinct case
         when v.relkind = 'v' then format('view %I.%I', s.nspname, v.relname)
         when v.relkind = 'm' then format('materialized view %I.%I', s.nspname, v.relname)
         when g.attnum is not null then format('generated column %I', g.attname)
         else pg_describe_object(d.classid, d.objid, d.objsubid)
       end as reader
  from pg_attribute a
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid and d.refobjsubid = a.attnum
  left join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
  left join pg_class v on v.oid = w.ev_class and v.oid <> a.attrelid
  left join pg_namespace s on s.oid = v.relnamespace
  left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
  left join pg_attribute g on g.attrelid = a.attrelid and g.attnum <> a.attnum and g.attgenerated <> ''
       and g.attnum = case when d.classid = 'pg_class'::regclass and d.objid = a.attrelid then d.objsubid else f.adnum end
 where a.attrelid = to_regclass($1) and a.attname = any($2) and not a.attisdropped
   and (d.classid in ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass)
        or exists (select from pg_trigger t where d.classid = 'pg_trigger'::regclass and t.oid = d.objid and not t.tgisinternal)
        or g.attnum is not null)
 order by 1

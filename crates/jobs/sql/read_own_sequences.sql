-- The sequences of identity and serial columns of some tables. $1 oid[]. `stands_at`: the number that
-- was given last; null where none was, or where this role may not look. No lock.
select d.refobjid as oid, a.attname::text as column_name,
       pg_catalog.format('%I.%I', n.nspname, s.relname) as sequence,
       case when pg_catalog.has_sequence_privilege(s.oid, 'usage, select')
            then coalesce(pg_catalog.pg_sequence_last_value(s.oid), 0) end as stands_at
  from pg_catalog.pg_depend d
  join pg_catalog.pg_class s on s.oid = d.objid and s.relkind = 'S'
  join pg_catalog.pg_namespace n on n.oid = s.relnamespace
  join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
 where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
   and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
   and d.refobjid = any ($1::oid[]) and d.refobjsubid > 0 and d.deptype in ('a', 'i')
   and a.atttypid in ('pg_catalog.int2'::pg_catalog.regtype, 'pg_catalog.int4'::pg_catalog.regtype,
                      'pg_catalog.int8'::pg_catalog.regtype)
 order by d.refobjid, d.refobjsubid

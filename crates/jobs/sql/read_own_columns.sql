-- The columns of some tables, in their order. $1 oid[]. `base_type`: the type behind a domain, as an
-- operand of its operators; `equals`: the `=` of its default operator class, if it has one. Read under
-- search_path = pg_catalog, so that types outside it come out qualified. No lock.
with recursive of_column as (
  select a.attrelid, a.attnum, a.attname::text as name, a.atttypid, a.atttypmod, a.attnotnull,
         a.atthasdef, a.attgenerated::text as generated, a.attidentity::text as identity
    from pg_catalog.pg_attribute a
   where a.attrelid = any ($1::oid[]) and a.attnum > 0 and not a.attisdropped
), base (type, base) as (
  select distinct atttypid, atttypid from of_column
  union all
  select b.type, t.typbasetype from base b join pg_catalog.pg_type t on t.oid = b.base
   where t.typtype = 'd'
), ground as (
  select b.type, b.base, t.typtype, t.typnamespace, t.typcategory, t.typelem
    from base b join pg_catalog.pg_type t on t.oid = b.base
   where t.typtype <> 'd'
)
select c.attrelid, c.name, pg_catalog.format_type(c.atttypid, c.atttypmod) as sql_type,
       pg_catalog.format_type(g.base, -1) as base_type, g.base <> c.atttypid as is_domain,
       c.attnotnull as not_null, c.atthasdef as has_default, c.generated <> '' as generated,
       c.identity,
       (select pg_catalog.format('operator(%I.%s)', own.nspname, o.oprname)
          from pg_catalog.pg_opclass class
          join pg_catalog.pg_am method on method.oid = class.opcmethod and method.amname = 'btree'
          join pg_catalog.pg_amop entry
            on entry.amopfamily = class.opcfamily and entry.amopstrategy = 3
           and entry.amoplefttype = class.opcintype and entry.amoprighttype = class.opcintype
          join pg_catalog.pg_operator o on o.oid = entry.amopopr
          join pg_catalog.pg_namespace own on own.oid = o.oprnamespace
         where class.opcdefault
           and class.opcintype = case
                 when g.typtype = 'e' then 'pg_catalog.anyenum'::pg_catalog.regtype::oid
                 when g.typcategory = 'A' then 'pg_catalog.anyarray'::pg_catalog.regtype::oid
                 when g.typtype = 'r' then 'pg_catalog.anyrange'::pg_catalog.regtype::oid
                 when g.base = 'pg_catalog.varchar'::pg_catalog.regtype::oid
                   then 'pg_catalog.text'::pg_catalog.regtype::oid
                 else g.base end
         limit 1) as equals
  from of_column c
  join ground g on g.type = c.atttypid
 order by c.attrelid, c.attnum

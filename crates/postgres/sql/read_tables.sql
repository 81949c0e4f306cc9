-- The tables that mappings name, with their columns, one row per column; a table without columns,
-- or one that does not exist, is one row with nulls. $1: schemas, $2: tables, by position. Read
-- under search_path = pg_catalog, so that types outside it come out qualified. base_type is without
-- a domain's name and without a modifier: what tells whether two columns hold the same kind of
-- value. Uses the catalogs' own unique indexes; takes no lock on the tables themselves.
select w.position::int4             as position,
       c.relkind::text              as kind,
       c.relpersistence::text       as persistence,
       a.attname::text              as column_name,
       format_type(a.atttypid, a.atttypmod) as column_type,
       (with recursive base as (select a.atttypid as type
                                union all
                                select t.typbasetype from base join pg_type t on t.oid = base.type where t.typtype = 'd')
        select format_type(base.type, null) from base join pg_type t on t.oid = base.type where t.typtype <> 'd') as base_type,
       has_schema_privilege(n.oid, 'usage') as may_enter,
       has_table_privilege(c.oid, 'select') as may_read,
       array_position(i.indkey::int2[], a.attnum) as key_position
  from unnest($1::text[], $2::text[]) with ordinality as w (schema_name, table_name, position)
  left join pg_namespace n on n.nspname = w.schema_name
  left join pg_class c on c.relnamespace = n.oid and c.relname = w.table_name
  left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_index i on i.indrelid = c.oid and i.indisprimary
 order by w.position, a.attnum

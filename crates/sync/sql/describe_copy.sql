-- Runs at a destination: the comment, columns and types of a table. $1 text: the table, quoted and
-- qualified. Returns no row where there is no such table.
select obj_description(c.oid, 'pg_class') as mark,
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns,
       array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as types
  from pg_class c
 where c.oid = to_regclass($1::text)

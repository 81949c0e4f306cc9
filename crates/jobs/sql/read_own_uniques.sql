-- The unique constraints and indexes of some tables that refuse a row at once, and whose columns are columns of
-- the table. $1 oid[]. Those of expressions, or of some rows only, are left out. No lock.
select i.indrelid as oid, c.relname::text as name,
       array (select a.attname::text
                from pg_catalog.unnest(i.indkey::int2[]) with ordinality k (attnum, place)
                join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
               where k.place <= i.indnkeyatts
               order by k.place) as columns
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indexrelid
 where i.indrelid = any ($1::oid[]) and i.indisunique and i.indimmediate and i.indisvalid
   and i.indpred is null and i.indexprs is null
 order by i.indrelid, c.relname

-- The indexes of table $1 (quoted for SQL), apart from its primary key. `plain`: a btree over
-- columns, ascending, each compared as its type does, without a condition, so that any database can
-- have it.
select x.relname::text as name, i.indisunique as unique,
       m.amname = 'btree' and i.indpred is null and i.indexprs is null and i.indnatts = i.indnkeyatts
         and not exists (select from unnest(i.indoption::int2[]) option where option <> 0)
         and not exists (select from unnest(i.indclass::oid[]) class join pg_opclass o on o.oid = class where not o.opcdefault)
         and not exists (select from unnest(i.indkey::int2[]) with ordinality k (attnum, at)
                           join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                          where a.attcollation <> (i.indcollation::oid[])[k.at - 1]) as plain,
       array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k (attnum, at)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
              order by k.at) as columns
  from pg_index i
  join pg_class x on x.oid = i.indexrelid
  join pg_am m on m.oid = x.relam
 where i.indrelid = $1::text::regclass and not i.indisprimary and i.indisvalid
 order by 1

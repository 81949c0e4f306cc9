-- Whether table $1 (quoted for SQL) has an index whose first columns are $2, in that order. The
-- plan alone does not tell: where few tenants have most of the rows, the planner may use another
-- index, which would be wrong for many tenants.
select exists (
  select from pg_catalog.pg_index i
   where i.indrelid = $1::text::regclass and i.indisvalid and i.indpred is null
     and $2::text[] = array(select a.attname::text
                      from unnest(i.indkey::int2[]) with ordinality k (attnum, position)
                      left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum and k.attnum > 0
                     where k.position <= least(i.indnkeyatts, cardinality($2::text[]))
                     order by k.position))

-- Whether table $1 (quoted for SQL) has an index that finds rows by the columns $2, and among them
-- by one of the columns $3: its leading columns are all in $2, and one of them is in $3. The plan
-- alone does not tell: on a small table the planner may prefer another index.
select exists (
  select from pg_catalog.pg_index i
   cross join lateral (
     select k.attnum, a.attname::text as name,
            pg_catalog.bool_and(coalesce(a.attname = any($2), false)) over (order by k.position) as leading
       from unnest(i.indkey::int2[]) with ordinality k (attnum, position)
       left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum and k.attnum > 0
      where k.position <= i.indnkeyatts) columns
   where i.indrelid = $1::text::regclass and i.indisvalid and i.indpred is null and columns.leading and columns.name = any($3))

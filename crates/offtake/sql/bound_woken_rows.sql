-- How many rows of a table have the same values in some columns, at most. $1 text: the table,
-- quoted and qualified; $2 text[]: the columns. Reads the catalog and the planner's statistics.
-- Returns
-- unique_key: whether a unique index consists of these columns only, so that it is one row;
-- rows: the planner's estimate of the table's rows, -1 where it was never analyzed;
-- often: for each column, how many rows have its most frequent value; the smallest of these
-- numbers. Null without statistics.
select exists (select from pg_index i
                where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
                  and (select bool_and(a.attname = any($2::text[])) from unnest(i.indkey::smallint[]) k
                         join pg_attribute a on a.attrelid = c.oid and a.attnum = k)) as unique_key,
       c.reltuples::float8 as rows,
       (select min(greatest(s.most_common_freqs[1] * c.reltuples, case when s.n_distinct > 0 then c.reltuples / s.n_distinct
                                                                       else -1 / nullif(s.n_distinct, 0) end))
          from pg_stats s
         where s.schemaname = c.relnamespace::regnamespace::text and s.tablename = c.relname and s.attname = any($2::text[]))::float8 as often
  from pg_class c
 where c.oid = $1::text::regclass

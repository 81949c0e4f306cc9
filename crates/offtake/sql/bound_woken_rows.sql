-- How many rows of a table have the same values in some columns, at most. $1 text: the quoted,
-- qualified table; $2 text[]: the columns. Returns unique_key: whether a unique index has none but
-- these columns, so that it is one row; rows: the planner's count of the table's rows, -1 if it was
-- never counted; often: by the planner's statistics, rows with the commonest value of the rarest of
-- the columns; null if it has none.
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

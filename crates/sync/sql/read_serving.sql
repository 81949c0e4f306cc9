-- Which source serves this tenant here. $1 tenant. {state} is the state table; the tenant, or an
-- older version of Offtake, may have left it without the columns. since and last are for people.
select s.row ->> 'source' as source, s.row ->> 'source_identity' as identity, s.row ->> 'served_since' as since, s.row ->> 'served_at' as last,
       extract(epoch from now() - (s.row ->> 'served_at')::timestamptz)::float8 as silent_seconds
  from (select to_jsonb(s) as row from {state} s where tenant_id = $1) s
 where s.row ->> 'source_identity' is not null
 order by (s.row ->> 'served_at')::timestamptz desc nulls last limit 1

-- Which source serves each of several tenants here, as read_serving.sql says of one; see there. $1
-- text[] tenants. {state} is the state table. Without `offset`, the server makes the row's JSON once
-- for each value that is taken from it.
select distinct on (s.tenant_id) s.tenant_id, s.row ->> 'source' as source, s.row ->> 'source_identity' as identity,
       s.row ->> 'served_since' as since, s.row ->> 'served_at' as last,
       extract(epoch from now() - (s.row ->> 'served_at')::timestamptz)::float8 as silent_seconds
  from (select tenant_id::text as tenant_id, to_jsonb(s) as row from {state} s where tenant_id = any($1) offset 0) s
 where s.row ->> 'source_identity' is not null
 order by s.tenant_id, (s.row ->> 'served_at')::timestamptz desc nulls last

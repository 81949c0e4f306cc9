-- Which other tenants have, or had, cursors in this schema, and how far. $1 tenant, $2 text[]
-- mappings of our own, $3 text[] their tables, $4 and $5 the tenant and mapping after which the
-- page begins (null: at the first), $6 bigint at most so many. {state} is the state table. One row
-- per tenant and mapping. Takes no lock.
select s.tenant_id::text as tenant_id, s.mapping::text as mapping, s.sequence_id::bigint as sequence_id,
       to_regclass(t.name)::oid::text as oid, coalesce(s.updated_at > now() - interval '10 minutes', true) as lately
  from {state} s
  left join unnest($2::text[], $3::text[]) t (mapping, name) on t.mapping = s.mapping
 where s.tenant_id <> $1 and ($4::text is null or (s.tenant_id, s.mapping) > ($4, $5))
 order by s.tenant_id, s.mapping limit $6

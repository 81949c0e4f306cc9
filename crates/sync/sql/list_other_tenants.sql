-- Which other tenants have, or had, cursors of these mappings in this schema. $1 tenant, $2 text[] mappings. {state} is the state table.
-- One row per tenant and mapping, at most 1000. Uses the primary key of the state table; takes no lock.
select mapping::text as mapping, tenant_id::text as tenant_id
  from {state} where tenant_id <> $1 and mapping = any($2) order by mapping, tenant_id limit 1000

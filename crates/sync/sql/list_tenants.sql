-- The tenants, other than $1, that have, or had, cursors in this schema; at most $2 bigint of them.
-- {state} is the state table. Takes no lock.
select distinct s.tenant_id::text as tenant_id from {state} s where s.tenant_id <> $1 order by 1 limit $2

-- The destinations that configuration and query no longer name: all active ones but those of the
-- tenants $1 text[] with the names $2 text[]. Reads every active destination. Locks nothing.
-- The registry calls it in its transaction, under its lock.
select destination_id
  from offtake.destination d
 where d.active and not exists (select from unnest($1::text[], $2::text[]) named (tenant_id, name)
                                 where named.tenant_id = d.tenant_id and named.name = d.name)

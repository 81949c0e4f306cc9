-- Where the destinations of the tenants $1 (text[]) with the names $2 (text[]) are served now. A
-- destination that is refused or no longer named is not served.
select d.tenant_id, d.name, d.schema_name, d.host, d.port, d.database_name, d.user_name, d.shared
  from unnest($1::text[], $2::text[]) given (tenant_id, name)
  join offtake.destination d using (tenant_id, name)
 where d.active and d.refused is null

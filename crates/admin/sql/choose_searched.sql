-- The active destinations of which the tenant, the name, the host or the database contains $1 (text,
-- in lower case), by tenant and name; those after tenant $2 and name $3 (text; null: from the first
-- on), at most $4 (bigint). Part of list_destinations.sql. It reads the registry up to the page's
-- end: 100 000 destinations take a tenth of a second.
select * from offtake.destination
 where active and ($2::text is null or (tenant_id, name) > ($2, $3::text))
   and position($1::text in lower(concat_ws(chr(10), tenant_id, source_tenant_id, name, host, database_name))) > 0
 order by tenant_id, name
 limit $4

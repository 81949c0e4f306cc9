-- The active webhooks of which the tenant, the name or the host contains $1 (text, in lower case), by
-- tenant and name; those after tenant $2 and name $3 (text; null: from the first on), at most $4
-- (bigint). Part of list_webhooks.sql. It reads the registry up to the page's end.
select * from offtake.webhook
 where active and ($2::text is null or (tenant_id, name) > ($2, $3::text))
   and position($1::text in lower(concat_ws(chr(10), tenant_id, source_tenant_id, name, host))) > 0
 order by tenant_id, name
 limit $4

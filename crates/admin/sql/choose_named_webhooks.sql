-- The active webhooks by tenant and name. $1 text: only this tenant's; $2 text: only those with this
-- name; $3, $4 text: only those after this tenant and name (null matches all); $5 bigint: at most so
-- many (null: all); $6 bigint[]: only these (null: all). Part of list_webhooks.sql.
select * from offtake.webhook
 where active and ($1::text is null or tenant_id = $1) and ($2::text is null or name = $2)
   and ($3::text is null or (tenant_id, name) > ($3, $4::text)) and ($6::bigint[] is null or webhook_id = any($6))
 order by tenant_id, name
 limit $5

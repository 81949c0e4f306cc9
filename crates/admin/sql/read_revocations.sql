-- How often the status tokens of tenant $1 (text, as it is configured) were revoked: one row.
-- Through the primary key of status_token.
select coalesce((select revoked from offtake.status_token where tenant_id = $1), 0) as revoked

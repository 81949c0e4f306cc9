-- Revokes all status tokens of tenant $1 (text, as it is configured). Returns how often that has
-- been done. Locks the tenant's row of status_token.
insert into offtake.status_token as s (tenant_id, revoked) values ($1, 1)
    on conflict (tenant_id) do update set revoked = s.revoked + 1, revoked_at = now()
returning revoked

-- How often an operator has revoked a tenant's status tokens. The tokens themselves are stored
-- nowhere: they are derived from http.status_secret, the tenant and this number. Daemons of the
-- version before this one may go on running: they do not know the table.

create table offtake.status_token (
  tenant_id text primary key,
  revoked bigint not null,
  revoked_at timestamptz not null default now()
);
comment on table offtake.status_token is
  'Tenants whose status tokens were revoked. A tenant without a row has had none revoked. A row stays when its tenant is forgotten: '
  'otherwise its old tokens would open the view again if it came back.';
comment on column offtake.status_token.tenant_id is
  'The tenant as the configuration spells it.';
comment on column offtake.status_token.revoked is
  'How often. A token has this number in it, and is valid while it is the current one.';

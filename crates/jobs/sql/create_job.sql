-- Records a job. $1 text: its public id; $2 text: the kind; $3 text: the tenant; $4 text: the tenant as the
-- log has it, or null; $5 text: the store, or null; $6 text: a command's folder, or null; $7 jsonb: the
-- options. No row: the public id is taken, or the tenant has an export that goes on. A transaction
-- of its own.
insert into offtake.job (public_id, kind, tenant_id, source_tenant_id, store, folder, options)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict do nothing
returning job_id

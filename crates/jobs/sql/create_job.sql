-- Records a job. $1 text: its public id; $2 text: the kind; $3 text: the tenant; $4 text: the tenant as the
-- log has it, or null; $5 text: the store, or null; $6 text: a command's folder, or null; $7 jsonb: the
-- options; $8 text: the client's idempotency key, or null; $9 text: the hash of its request. No row: the
-- public id is taken, the tenant has a job of the kind that goes on, or the key was used within a day. Where
-- there is a key, lock_request.sql goes before it in its transaction. Uses job_idempotency. Waits for a
-- transaction that records or resumes a job of the tenant (job_running_export, job_running_snapshot).
insert into offtake.job (public_id, kind, tenant_id, source_tenant_id, store, folder, options, idempotency_key, request_sha256)
select $1, $2, $3, $4, $5, $6, $7, $8, $9
 where $8::text is null
    or not exists (select from offtake.job
                    where idempotency_key = $8::text and created_at > now() - interval '24 hours')
on conflict do nothing
returning job_id

-- Records the snapshot that follows job $1 bigint in the same interval. $2 text: a public id that is free; $3 jsonb: its
-- options. In the transaction of finish_job.sql that ends job $1, so that whatever dies, it is recorded once.
insert into offtake.job (public_id, kind, tenant_id, source_tenant_id, store, options)
select $2, kind, tenant_id, source_tenant_id, store, $3 from offtake.job where job_id = $1
on conflict ((coalesce(source_tenant_id, tenant_id)))
   where kind = 'snapshot' and state in ('accepted', 'processing', 'paused', 'settling') do nothing

-- A job. $1 bigint: its number. Uses job_pkey.
select j.job_id, j.public_id, j.tenant_id, coalesce(j.source_tenant_id, j.tenant_id) as tenant_at_source, j.store, j.folder,
       j.options, j.state, j.reason, j.attempt, j.leased_until > now() as working, j.mapping, j.round, j.rows_total, j.rows_done,
       j.bytes_done, j.percent, j.from_sequence_id, j.sequence_id, j.epoch, j.consistency, j.files, j.callback, j.failures,
       j.created_at, j.started_at, j.finished_at, j.expires_at, extract(epoch from now())::float8 as now
  from offtake.job j
 where j.job_id = $1

-- Jobs, the newest first. $1 text: the kind; $2 text[]: of the tenant that a client or the source spells in one of
-- these ways, or null; $3 text: in this state, or null; $4 text: older than the job of this public id, or null;
-- $5 bigint: at most so many. Uses job_pkey.
select j.job_id, j.public_id, j.tenant_id, coalesce(j.source_tenant_id, j.tenant_id) as tenant_at_source, j.store, j.folder,
       j.options, j.state, j.reason, j.attempt, j.leased_until > now() as working, j.mapping, j.round, j.rows_total, j.rows_done,
       j.bytes_done, j.percent, j.from_sequence_id, j.sequence_id, j.epoch, j.consistency, j.files, j.callback, j.failures,
       j.created_at, j.started_at, j.finished_at, j.expires_at, extract(epoch from now())::float8 as now
  from offtake.job j
 where j.kind = $1 and ($3::text is null or j.state = $3)
   and ($2::text[] is null or j.tenant_id = any($2) or j.source_tenant_id = any($2))
   and ($4::text is null or j.job_id < (select o.job_id from offtake.job o where o.public_id = $4))
 order by j.job_id desc
 limit $5

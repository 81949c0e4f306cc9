-- The complete snapshots that are kept no longer. $1 text[]: of these stores; $2 bigint: so many of the newest are
-- kept; $3 bigint: and those that are no older, in milliseconds; $4 text: only of this tenant, as the
-- source prints it, or null. A tenant's newest one is never among them, and neither is the newest from which
-- nothing is left out; both are told, because they may be gone from the store. What a command has made counts, and is
-- not among them either. A tenant has one job that goes on
-- at a time, so the order of jobs is that of snapshots. Uses job_by_state.
select public_id, store, newest, newest_whole
  from (select j.public_id, j.store, j.by_command, j.finished_at, j.job_id, row_number() over of_tenant as place,
               first_value(j.public_id) over of_tenant as newest,
               max(j.job_id) filter (where not j.narrowed) over (partition by j.tenant, j.store, j.of_kind) as whole_id,
               first_value(j.public_id) over (partition by j.tenant, j.store, j.of_kind order by j.narrowed, j.job_id desc) as newest_whole
          from (select job_id, public_id, store, finished_at, coalesce(source_tenant_id, tenant_id) as tenant,
                       coalesce(options ->> 'kind', 'rows') as of_kind,
                       coalesce((files -> 0 ->> 'narrowed')::boolean, false) as narrowed,
                       options ? 'by_command' as by_command
                  from offtake.job
                 where kind = 'snapshot' and state = 'completed' and store = any($1::text[])
                   and (expires_at is null or expires_at > now())
                   and ($4::text is null or coalesce(source_tenant_id, tenant_id) = $4)) j
        window of_tenant as (partition by j.tenant, j.store, j.of_kind order by j.job_id desc)) placed
 where place > greatest($2::bigint, 1) and finished_at < now() - $3::bigint * interval '1 millisecond'
   and job_id is distinct from whole_id and not by_command
 order by job_id
 limit 200

-- Records a job for each tenant whose next interval has begun, and moves the tenant on to the interval after.
-- $1 bigint: the interval in microseconds; $2 text: the store; $3 text[]: public ids that are free; $4 bigint:
-- at most so many jobs wait for daemons; those that a daemon may not work on now are not counted; $5 jsonb: options. Both
-- happen in one statement, so that an interval has one job, whatever dies. Where a tenant has a scheduled snapshot
-- that goes on, that one is the interval's. Where a tenant has one that was asked for, the tenant stays due until
-- it ends: it may be of some mappings, or of another kind or store. Returns how many were recorded.
-- A transaction of its own, after lock_queue.sql. Uses snapshot_schedule_next, job_due and job_running_snapshot; skips what
-- another daemon holds.
with due as (
  select s.tenant_at_source, s.tenant_id from offtake.snapshot_schedule s
   where s.next_at <= now()
     and not exists (select from offtake.job a
                      where a.kind = 'snapshot' and a.state in ('accepted', 'processing', 'paused', 'settling')
                        and coalesce(a.source_tenant_id, a.tenant_id) = s.tenant_at_source
                        and not a.options ? 'scheduled')
   order by s.next_at
   limit greatest(0, least(cardinality($3::text[]),
                           $4 - (select count(*) from offtake.job d
                                  where d.kind = 'snapshot' and d.state in ('accepted', 'processing', 'paused', 'settling')
                                    and d.not_before <= now()
                                    and not exists (select from offtake.fuse f
                                                     where not f.enabled and (f.until is null or f.until > now())
                                                       and f.name in ('tenant:' || d.tenant_id, 'tenant:' || coalesce(d.source_tenant_id, d.tenant_id))))))
     for no key update of s skip locked
), placed as (
  select tenant_at_source, tenant_id, row_number() over () as place,
         (extract(epoch from now()) * 1000000)::bigint as at,
         (hashtextextended(tenant_at_source, 0) & 9223372036854775807) % $1::bigint as begins,
         exists (select from offtake.job g
                  where g.kind = 'snapshot' and g.state in ('accepted', 'processing', 'paused', 'settling')
                    and coalesce(g.source_tenant_id, g.tenant_id) = due.tenant_at_source) as goes_on
    from due
), recorded as (
  insert into offtake.job (public_id, kind, tenant_id, source_tenant_id, store, options)
  select ($3::text[])[place], 'snapshot', tenant_id, nullif(tenant_at_source, tenant_id), $2, $5
    from placed
  on conflict ((coalesce(source_tenant_id, tenant_id)))
     where kind = 'snapshot' and state in ('accepted', 'processing', 'paused', 'settling') do nothing
  returning coalesce(source_tenant_id, tenant_id) as tenant_at_source
), moved as (
  -- A tenant for whom a client asks in the same instant stays due.
  update offtake.snapshot_schedule s
     set next_at = timestamptz 'epoch' + (p.at - (p.at - p.begins) % $1::bigint + $1::bigint) * interval '1 microsecond'
    from placed p
   where s.tenant_at_source = p.tenant_at_source
     and (p.goes_on or p.tenant_at_source in (select r.tenant_at_source from recorded r))
)
select count(*) as recorded from recorded

-- Claims due sync requests. $1 bigint: how many at most; $2 bigint: the lease in milliseconds; $3
-- text: the process that claims; $4 bigint[]: failing destinations that answer quickly, which are
-- claimed together with the healthy ones. The engine fills in {of_these}: destinations whose last
-- attempt failed slowly, which outgoing_request_failing finds, or all others.
-- Destinations take turns: a request that was just worked on comes back with a later not_before. A
-- request whose lease ran out is due again, for any process; the attempt number tells its late
-- worker apart.
-- The worker of such a lease may have died of this very destination, and the next worker would too.
-- So the claim counts as a failure, and puts the next claim off for one lease, then two, then four,
-- up to an hour. It does so with jitter: requests that were only in the same process are then not
-- claimed at the same moment again. What the worker reports at its end replaces that.
-- What is claimed is changed by its place in the table: by its key, a plan that the session keeps from a
-- moment when nothing was owed compares each request that it claims with every one that there is. A
-- request that was owed more between the look and the lock is left to the next claim.
-- The sync engine calls it; a transaction of its own, begun by begin_claim.sql. Uses
-- outgoing_request_due, and reads no more than it claims and what others have claimed; skips what another
-- claim holds; waits for nothing.
with due as (
  select r.ctid, r.not_before, r.leased_until is not null as died
    from offtake.outgoing_request r
    join offtake.destination d using (destination_id)
   where r.kind = 'sync' and r.not_before <= now() and (r.leased_until is null or r.leased_until <= now())
     and {of_these}
     and d.active and d.refused is null
     and (d.paused_at is null or d.paused_until <= now())
     and not exists (select from offtake.fuse f
                      where not f.enabled and (f.until is null or f.until > now())
                        and f.name in ('destination:' || d.tenant_id || '/' || d.name, 'tenant:' || d.tenant_id))
   order by r.not_before
   limit $1
   for update of r skip locked
), claimed as (
  update offtake.outgoing_request r
     set attempt = r.attempt + 1, leased_until = now() + $2::bigint * interval '1 millisecond', leased_by = $3,
         failures = r.failures + due.died::int,
         not_before = case when due.died
           then now() + least($2::bigint * interval '1 millisecond' * 2 ^ least(r.failures, 20), interval '1 hour') * (1 + random()) / 2
           else r.not_before end
    from due
   where r.ctid = due.ctid
  returning r.request_id, r.destination_id, r.attempt, r.wanted_sequence_id, r.failures, due.not_before, due.died
), tellable as materialized (
  -- The first time it is probably a restart, so it is told from the second time on. It is not told
  -- while somebody writes to the destination: a claim that waited would hold its requests.
  select d.destination_id, c.failures from claimed c join offtake.destination d using (destination_id)
   where c.died and c.failures > 1
     for no key update of d skip locked
), told as (
  update offtake.destination d
     set consecutive_failures = c.failures, last_error = t.error, last_error_at = now(), state = 'blocked', reason = 'failing: ' || t.error,
         updated_at = now()
    from tellable c, format('the daemon died %s times in a row while it worked for this destination; see its log', c.failures) t (error)
   where d.destination_id = c.destination_id
)
select r.request_id, r.destination_id, r.attempt, r.wanted_sequence_id, r.failures,
       case when r.failures > 0 and not r.died then r.not_before::text end as retried_at,
       least(greatest(extract(epoch from now()) - extract(epoch from r.not_before), 0), 1e9)::float8 as waited_seconds,
       coalesce(m.deferred, '{}') as deferred, m.deferred_ms, coalesce(m.audits_untold, false) as audits_untold,
       coalesce(q.ids, '{}') as resync_ids, coalesce(q.mappings, '{}') as resync_mappings,
       exists (select from offtake.quarantined_row q where q.destination_id = r.destination_id) as quarantined,
       (select d.adopt_requested_at is not null from offtake.destination d where d.destination_id = r.destination_id) as adopted
  from claimed r
  left join lateral (
    select array_agg(m.mapping) filter (where m.retry_at > now()) as deferred,
           (min(least(extract(epoch from m.retry_at) - extract(epoch from now()), 1e9)) filter (where m.retry_at > now()) * 1000)::bigint as deferred_ms,
           bool_or(m.audit_untold) as audits_untold
      from offtake.destination_mapping m where m.destination_id = r.destination_id
  ) m on true
  left join lateral (
    select array_agg(q.resync_id order by q.resync_id) as ids, array_agg(q.mapping order by q.resync_id) as mappings
      from offtake.resync_request q where q.destination_id = r.destination_id
  ) q on true

-- Claims due requests of webhooks, as claim_requests.sql does those of destinations; see there. $1
-- bigint: how many at most; $2 bigint: the lease in milliseconds; $3 text: the process that claims;
-- $4 bigint[]: failing webhooks that answer quickly, which are claimed together with the healthy
-- ones. The engine fills in {of_these}: webhooks whose last attempt failed slowly, which
-- outgoing_webhook_failing finds, or all others.
-- Returns what a turn must know: the cursors, one object per row of webhook_mapping (sequence ids as
-- text, because JSON numbers may be read as floats), what is replayed, what is quarantined.
-- The webhooks engine calls it; a transaction of its own, begun by begin_claim.sql. Uses
-- outgoing_webhook_due; skips what another claim holds; waits for nothing.
with due as (
  select r.ctid, r.not_before, r.leased_until is not null as died
    from offtake.outgoing_request r
    join offtake.webhook w using (webhook_id)
   where r.kind = 'webhook' and r.not_before <= now() and (r.leased_until is null or r.leased_until <= now())
     and {of_these}
     and w.active and w.refused is null and w.disabled_at is null
     and (w.paused_at is null or w.paused_until <= now())
     and not exists (select from offtake.fuse f
                      where not f.enabled and (f.until is null or f.until > now())
                        and f.name in ('webhook:' || w.tenant_id || '/' || w.name, 'tenant:' || w.tenant_id))
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
  returning r.request_id, r.webhook_id, r.attempt, r.wanted_sequence_id, r.failures, due.not_before, due.died
), told as (
  -- The first time it is probably a restart, so it is told from the second time on.
  update offtake.webhook w
     set consecutive_failures = c.failures, last_error = t.error, last_error_at = now(), state = 'blocked', reason = 'failing: ' || t.error,
         updated_at = now()
    from claimed c, format('the daemon died %s times in a row while it worked for this webhook; see its log', c.failures) t (error)
   where w.webhook_id = c.webhook_id and c.died and c.failures > 1
)
select r.request_id, r.webhook_id, r.attempt, r.wanted_sequence_id, r.failures,
       least(greatest(extract(epoch from now()) - extract(epoch from r.not_before), 0), 1e9)::float8 as waited_seconds,
       w.generation,
       (select coalesce(jsonb_agg(jsonb_build_object(
                 'mapping', m.mapping, 'sequence_id', m.sequence_id::text, 'epoch', m.epoch, 'version', m.version, 'need', m.need,
                 'resync_reason', m.resync_reason, 'resync_sequence_id', m.resync_sequence_id::text,
                 'backfilled', m.backfilled, 'backfill_key', m.backfill_key, 'deferred', coalesce(m.retry_at > now(), false),
                 'deferred_ms', (least(extract(epoch from m.retry_at) - extract(epoch from now()), 1e9) * 1000)::bigint)), '[]')
          from offtake.webhook_mapping m where m.webhook_id = r.webhook_id) as cursors,
       (select coalesce(jsonb_agg(jsonb_build_object(
                 'replay_id', p.replay_id::text, 'mapping', p.mapping, 'after', p.after::text, 'up_to', p.up_to::text,
                 'generation', p.generation::text) order by p.replay_id), '[]')
          from offtake.webhook_replay p where p.webhook_id = r.webhook_id) as replays,
       (select count(*) from offtake.quarantined_event q where q.webhook_id = r.webhook_id) as quarantined
  from claimed r
  join offtake.webhook w using (webhook_id)

-- What the metrics have beside the status. No parameters.
-- oldest_due_seconds: how long the oldest request has been due that a worker could claim and that
-- did not fail the last time; see claim_requests.sql and claim_webhooks.sql, which claim by the same
-- conditions. Read from the beginning of outgoing_request_due and of outgoing_webhook_due, up to the
-- first that may be claimed. oldest_change_seconds: the first entry of the log's primary key.
-- log_bytes: of a dozen partitions. Ages are differences of numbers, because an infinite time has
-- none of its own.
with due as (
  (select r.not_before
     from offtake.outgoing_request r
     join offtake.destination d using (destination_id)
    where r.kind = 'sync' and r.not_before <= now() and r.failures = 0
      and (r.leased_until is null or r.leased_until <= now())
      and d.active and d.refused is null
      and (d.paused_at is null or d.paused_until <= now())
      and not exists (select from offtake.fuse f
                       where not f.enabled and (f.until is null or f.until > now())
                         and f.name in ('destination:' || d.tenant_id || '/' || d.name, 'tenant:' || d.tenant_id))
    order by r.not_before
    limit 1)
   union all
  (select r.not_before
     from offtake.outgoing_request r
     join offtake.webhook w using (webhook_id)
    where r.kind = 'webhook' and r.not_before <= now() and r.failures = 0
      and (r.leased_until is null or r.leased_until <= now())
      and w.active and w.refused is null and w.disabled_at is null
      and (w.paused_at is null or w.paused_until <= now())
      and not exists (select from offtake.fuse f
                       where not f.enabled and (f.until is null or f.until > now())
                         and f.name in ('webhook:' || w.tenant_id || '/' || w.name, 'tenant:' || w.tenant_id))
    order by r.not_before
    limit 1)
)
select (select (extract(epoch from now()) - extract(epoch from min(not_before)))::float8 from due) as oldest_due_seconds,
       (select (extract(epoch from clock_timestamp()) - extract(epoch from sequenced_at))::float8
          from offtake.change_log order by sequence_id limit 1) as oldest_change_seconds,
       (select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint
          from pg_inherits where inhparent = 'offtake.change_log'::regclass) as log_bytes,
       (select coalesce(jsonb_object_agg(state, jobs), '{}')
          from (select state, count(*) as jobs from offtake.job where kind = 'export' group by state) by_state) as exports,
       (select coalesce(jsonb_object_agg(state, jobs), '{}')
          from (select state, count(*) as jobs from offtake.job where kind = 'snapshot' group by state) by_state) as snapshots,
       (select (extract(epoch from now()) - extract(epoch from min(coalesce(made_at, since))))::float8
          from offtake.snapshot_schedule) as snapshot_age_seconds,
       (select coalesce(jsonb_object_agg(operation, rows), '{}') from offtake.restored_rows) as restored

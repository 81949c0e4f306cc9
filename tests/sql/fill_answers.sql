-- Fills a source whose destinations are registered as a large installation looks after a busy week:
-- {rows} rows in the log, every tenant's among them, and of each hundred destinations one that is
-- blocked, one with ten refused rows and one that lags by ten changes. Of a hundred webhooks one is
-- blocked and one has ten refused events; the first has a hundred thousand attempts. A script, run
-- once, as the owner.
insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
select nextval('offtake.global_sequence'), 'public.note', d.tenant_id, jsonb_build_object('id', n::text), n % 10 = 0, now()
  from generate_series(1, {rows} / (select count(*) from offtake.destination)) n
 cross join offtake.destination d;

insert into offtake.destination_mapping
       (destination_id, mapping, sequence_id, backfilled, target_identity, backfill_started_at, audited_at, verified_at, differences)
select destination_id, 'notes', (select last_value from offtake.global_sequence), true, '1:1', now(), now(), now(), 0
  from offtake.destination
on conflict (destination_id, mapping) do update set sequence_id = excluded.sequence_id, backfilled = true;

update offtake.destination
   set last_success_at = now(), visit_at = now() + interval '10 minutes', sequence_id = (select last_value from offtake.global_sequence),
       state = case when destination_id % 100 = 1 then 'blocked' else 'in_sync' end,
       reason = case when destination_id % 100 = 1 then 'unreachable: connection refused' end,
       consecutive_failures = case when destination_id % 100 = 1 then 7 else 0 end,
       last_error = case when destination_id % 100 = 1 then 'connection refused' end,
       paused_at = case when destination_id % 1000 = 4 then now() end,
       pause_reason = case when destination_id % 1000 = 4 then 'their migration' end;

insert into offtake.quarantined_row (destination_id, mapping, row_key, sqlstate, error, retry_at)
select d.destination_id, 'notes', jsonb_build_object('id', n::text), '23514', 'violates a check constraint', now() + interval '1 hour'
  from offtake.destination d cross join generate_series(1, 10) n
 where d.destination_id % 100 = 2;

insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
select nextval('offtake.global_sequence'), 'public.note', d.tenant_id, jsonb_build_object('id', n::text), false, now()
  from generate_series(1, 10) n cross join offtake.destination d
 where d.destination_id % 100 = 3;

update offtake.poller_position set sequence_id = (select last_value from offtake.global_sequence);

delete from offtake.outgoing_request;
insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id)
select 'sync', destination_id, (select last_value from offtake.global_sequence)
  from offtake.destination where destination_id % 100 in (1, 3);

update offtake.webhook_mapping set sequence_id = (select last_value from offtake.global_sequence);
update offtake.webhook
   set sequence_id = (select last_value from offtake.global_sequence),
       state = case when webhook_id % 100 = 1 then 'blocked' else 'in_sync' end,
       consecutive_failures = case when webhook_id % 100 = 1 then 7 else 0 end,
       last_error = case when webhook_id % 100 = 1 then 'answers 500' end;
insert into offtake.quarantined_event (webhook_id, mapping, row_key, sequence_id, captured_at, error, status)
select w.webhook_id, 'notes', jsonb_build_object('id', n::text), w.sequence_id, now(), 'answers 400', 400
  from offtake.webhook w cross join generate_series(1, 10) n
 where w.webhook_id % 100 = 2;

create table if not exists offtake.webhook_attempt_filled
  partition of offtake.webhook_attempt for values from ('2001-01-01') to ('2001-01-02');
insert into offtake.webhook_attempt (started_at, webhook_id, mapping, row_key, events, event_id, attempt, duration_ms, status, class)
select '2001-01-01'::timestamptz + n * interval '0.5 s', (select min(webhook_id) from offtake.webhook), 'notes', n::text, 1, 'evt_' || n, 1, 12, 500, 'unwell'
  from generate_series(1, 100000) n;
analyze offtake.webhook;
analyze offtake.webhook_mapping;
analyze offtake.webhook_attempt;
analyze offtake.quarantined_row;
analyze offtake.quarantined_event;
analyze offtake.change_log;

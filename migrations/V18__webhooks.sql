-- Webhooks: HTTPS endpoints that are told of one tenant's rows. Daemons of the version before this
-- one may go on running: their statements name the kind sync, and neither read nor write any of it.

create table offtake.webhook (
  webhook_id      bigint generated always as identity primary key,
  tenant_id       text        not null,
  name            text        not null,
  source_tenant_id text,
  host            text        not null,
  port            integer     not null,
  mappings        text[]      not null,
  source_tables   text[]      not null,
  fingerprint     text        not null,
  active          boolean     not null default true,
  deactivated_at  timestamptz,
  refused         text,
  state           text        not null default 'lagging'
                  check (state in ('in_sync', 'lagging', 'backfilling', 'degraded', 'blocked', 'paused', 'disabled')),
  reason          text,
  generation      bigint      not null default 0,
  sequence_id     bigint,
  delivered       bigint      not null default 0,
  failed          bigint      not null default 0,
  last_success_at timestamptz,
  last_status     integer,
  last_error      text,
  last_error_at   timestamptz,
  failing_since   timestamptz,
  consecutive_failures integer not null default 0,
  disabled_at     timestamptz,
  disabled_reason text,
  paused_at       timestamptz,
  paused_until    timestamptz,
  pause_reason    text,
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  unique (tenant_id, name)
) with (fillfactor = 70);
create index webhook_tenant_in_log on offtake.webhook (coalesce(source_tenant_id, tenant_id));
create index webhook_paused on offtake.webhook (webhook_id) where paused_at is not null;
comment on table offtake.webhook is
  'The registry of webhooks: one row per endpoint known to the daemons. It holds no secret, and of the URL only host and port; the rest stays in memory.';
comment on column offtake.webhook.source_tenant_id is 'The tenant as change_log.tenant_id has it; null: as tenant_id.';
comment on column offtake.webhook.source_tables is 'The source table of each of its mappings, in the same order: the poller finds who cares without parsing files.';
comment on column offtake.webhook.fingerprint is
  'SHA-256 over URL, secrets, headers and certificates. Another one means that the endpoint is another one: it ends disabled and backoff.';
comment on column offtake.webhook.active is 'False once neither configuration nor webhooks query names it. Its cursors are kept for retention.changes after deactivated_at.';
comment on column offtake.webhook.refused is 'Why nothing is sent to it at all (an unusable URL, too many of one tenant); null normally.';
comment on column offtake.webhook.state is 'As the last turn left it. What a reader is told is computed anew.';
comment on column offtake.webhook.generation is 'Raised by a replay, so that the ids of its events are new. Part of every event''s id.';
comment on column offtake.webhook.sequence_id is 'The lowest cursor of its mappings, for sweep and retention; null: it has none yet.';
comment on column offtake.webhook.delivered is 'Events acknowledged since it was registered.';
comment on column offtake.webhook.failed is 'Requests that were not answered with 2xx since it was registered.';
comment on column offtake.webhook.failing_since is 'The first failure since the last 2xx; null: the last request was acknowledged.';

create table offtake.webhook_mapping (
  webhook_id      bigint      not null references offtake.webhook on delete cascade,
  mapping         text        not null,
  sequence_id     bigint      not null,
  epoch           text,
  version         text,
  need            text,
  resync_reason   text        check (resync_reason in ('truncated', 'overlooked', 'mapping_changed', 'log_lost', 'epoch', 'asked')),
  resync_sequence_id bigint,
  backfilled      boolean     not null default true,
  backfill_key    jsonb,
  rows_done       bigint      not null default 0,
  backfill_started_at  timestamptz,
  backfill_finished_at timestamptz,
  error           text,
  sqlstate        text,
  failures        integer     not null default 0,
  retry_at        timestamptz,
  updated_at      timestamptz not null default now(),
  primary key (webhook_id, mapping)
) with (fillfactor = 70);
create index webhook_mapping_unsettled on offtake.webhook_mapping (webhook_id) where resync_reason is not null or not backfilled;
create index webhook_mapping_retry on offtake.webhook_mapping (retry_at) where retry_at is not null;
comment on table offtake.webhook_mapping is
  'How far a webhook was told of one mapping. This is the truth: a receiver has no state of ours. It moves only after the receiver acknowledged.';
comment on column offtake.webhook_mapping.sequence_id is
  'The cursor: every change of the mapping up to here was acknowledged, or its event is in quarantined_event.';
comment on column offtake.webhook_mapping.epoch is 'In which the cursor was written; null: not known yet. In another epoch it says nothing.';
comment on column offtake.webhook_mapping.version is 'Hash of the mapping, where and filter that were told last; another one is a resync.';
comment on column offtake.webhook_mapping.need is 'As destination_mapping.need.';
comment on column offtake.webhook_mapping.resync_reason is 'A resync event is owed before anything else of the mapping, for this reason; null: none is.';
comment on column offtake.webhook_mapping.resync_sequence_id is
  'The sequence id of the latest resync event, which the rows of its backfill carry too: their ids are the same after a crash.';
comment on column offtake.webhook_mapping.backfilled is 'False from the resync event on until the backfilled event is acknowledged.';
comment on column offtake.webhook_mapping.backfill_key is 'The last key of the backfill that was acknowledged: its columns as text, in key order. Null: none yet.';
comment on column offtake.webhook_mapping.retry_at is 'After an error of this mapping''s query: when it is tried again; the other mappings go on.';

create table offtake.quarantined_event (
  webhook_id      bigint      not null references offtake.webhook on delete cascade,
  mapping         text        not null,
  row_key         jsonb       not null,
  sequence_id     bigint      not null,
  attempts        integer     not null default 1,
  next_attempt_at timestamptz,
  status          integer,
  error           text        not null,
  sqlstate        text,
  captured_at     timestamptz not null,
  first_failed_at timestamptz not null default now(),
  last_failed_at  timestamptz not null default now(),
  primary key (webhook_id, mapping, row_key)
);
create index quarantined_event_retry on offtake.quarantined_event (next_attempt_at);
comment on table offtake.quarantined_event is
  'An event that its receiver refuses, by key; never its values. It is read anew when its key changes, at next_attempt_at, or by command. At most 1000 per webhook.';
comment on column offtake.quarantined_event.row_key is 'As in change_log.';
comment on column offtake.quarantined_event.next_attempt_at is 'Null: exhausted, no attempt is left; the row is kept for 30 days.';
comment on column offtake.quarantined_event.captured_at is 'When the change was captured whose event was refused last: the timestamp of its event.';
comment on column offtake.quarantined_event.status is 'Of the receiver''s answer; null: the row could not be read at the source.';

create table offtake.webhook_attempt (
  attempt_id      bigint generated always as identity,
  started_at      timestamptz not null,
  webhook_id      bigint      not null,
  mapping         text,
  row_key         text,
  events          integer     not null,
  event_id        text        not null,
  sequence_id     bigint,
  attempt         bigint      not null,
  duration_ms     integer     not null,
  status          integer,
  class           text        not null,
  error           text,
  response        text
) partition by range (started_at);
create index webhook_attempt_webhook on offtake.webhook_attempt (webhook_id, attempt_id);
comment on table offtake.webhook_attempt is
  'Requests that were sent to webhooks, for operators; by default only those that failed. Partitions of a day, dropped after webhooks.attempts.keep.';
comment on column offtake.webhook_attempt.row_key is 'The key as the event has it; null: a batch, or an event without a key.';
comment on column offtake.webhook_attempt.event_id is 'webhook-id of the request.';
comment on column offtake.webhook_attempt.class is 'delivered, refused, unwell, timeout or address.';
comment on column offtake.webhook_attempt.response is
  'The first bytes of the answer to a failure, control characters removed; null where they repeat something of the request: no value settles here.';

create table offtake.webhook_replay (
  replay_id       bigint      generated always as identity primary key,
  webhook_id      bigint      not null references offtake.webhook on delete cascade,
  mapping         text        not null,
  after           bigint      not null,
  up_to           bigint      not null,
  generation      bigint      not null,
  requested_at    timestamptz not null default now()
);
create index webhook_replay_webhook on offtake.webhook_replay (webhook_id);
comment on table offtake.webhook_replay is
  'A stretch of the log of which a webhook is told once more, beside its cursor. `after` moves with what is acknowledged; deleted when it reaches up_to.';
comment on column offtake.webhook_replay.generation is 'Goes into the ids of its events; the webhook''s own, unless new ids were asked for.';

alter table offtake.outgoing_request
  alter column destination_id drop not null,
  add column webhook_id bigint references offtake.webhook on delete cascade,
  add constraint outgoing_request_whose check ((kind = 'sync') = (destination_id is not null) and (kind = 'webhook') = (webhook_id is not null));
create unique index outgoing_request_webhook on offtake.outgoing_request (webhook_id) where kind = 'webhook';
-- One of each per kind: otherwise whoever looks for due requests of one kind would read past all that
-- wait of the other.
drop index offtake.outgoing_request_due;
drop index offtake.outgoing_request_failing;
create index outgoing_request_due on offtake.outgoing_request (not_before) where kind = 'sync';
create index outgoing_request_failing on offtake.outgoing_request (not_before) where kind = 'sync' and failures > 0;
create index outgoing_webhook_due on offtake.outgoing_request (not_before) where kind = 'webhook';
create index outgoing_webhook_failing on offtake.outgoing_request (not_before) where kind = 'webhook' and failures > 0;
comment on table offtake.outgoing_request is
  'A destination is owed a sync, or a webhook is owed events, up to wanted_sequence_id. One row per destination or webhook while anything is owed; deleted when its cursor has reached it.';

-- The poller tells webhooks of changes that concern every tenant page by page, as it does destinations.
alter table offtake.fan_out add column webhook_id bigint not null default 0;
comment on column offtake.fan_out.webhook_id is 'Webhooks up to this one have been told in this pass.';

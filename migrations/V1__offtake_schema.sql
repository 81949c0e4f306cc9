-- The `offtake` schema of a source database. `offtake init` creates the schema itself and applies this file with the
-- migration history in offtake.migration. An applied migration is never touched: the next change is a new file.
--
-- Every time in these tables is this database's clock. Every sequence id is a bigint drawn from offtake.global_sequence.

create sequence offtake.global_sequence as bigint;
comment on sequence offtake.global_sequence is
  'Numbers committed changes. Only the sequencer advances it, under its transaction lock, so last_value is the highest '
  'sequence id given away; gaps are normal.';

-- ---------------------------------------------------------------------------------------------------- capture

create table offtake.captured_change (
  capture_id   bigint generated always as identity primary key,
  source_table text        not null,
  operation    "char"      not null check (operation in ('c', 'd', 't', 'r')),
  tenant_id    text,
  row_key      jsonb,
  matched      jsonb,
  resume       jsonb,
  captured_at  timestamptz not null default clock_timestamp()
) with (
  -- Rows live for milliseconds: vacuum must come by count, not by share of a table that is always nearly empty.
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table offtake.captured_change is
  'A change not yet sequenced. Appended by the capture triggers inside the application''s transaction, deleted by the sequencer.';
comment on column offtake.captured_change.capture_id is
  'Capture order. Drawn before commit, so it is NOT commit order: a smaller one may become visible later.';
comment on column offtake.captured_change.source_table is 'schema.table as the mappings write it; for a partition, its root table.';
comment on column offtake.captured_change.operation is
  'c: the key exists or matched columns changed; d: the key left this tenant or the table; t: the whole table may have changed; '
  'r: the sequencer''s own note where to go on expanding a change with many dependants.';
comment on column offtake.captured_change.tenant_id is
  'Null when the tenant must be looked up, or when every tenant may be concerned.';
comment on column offtake.captured_change.row_key is
  'The mapping key''s source columns as {"column": "text"}; null for a table that only others depend on.';
comment on column offtake.captured_change.matched is
  'The columns that dependants or the tenant''s look-up match on, as {"column": "text"}; null when there are none.';
comment on column offtake.captured_change.resume is 'For operation r: {"mapping": name, "after": last expanded key}.';

-- ---------------------------------------------------------------------------------------------------- sequencing

create table offtake.change_log (
  sequence_id  bigint      not null,
  source_table text        not null,
  tenant_id    text,
  row_key      jsonb,
  deleted      boolean     not null,
  captured_at  timestamptz not null,
  sequenced_at timestamptz not null default clock_timestamp(),
  primary key (sequence_id)
) partition by range (sequence_id);
create index change_log_tenant on offtake.change_log (tenant_id, source_table, sequence_id);
create index change_log_deleted on offtake.change_log (source_table) where deleted;
comment on table offtake.change_log is
  'A sequenced change: "look again at this key". Append-only; partitions of 10 000 000 sequence ids, dropped by retention.';
comment on column offtake.change_log.tenant_id is 'Null: every tenant looks again at the key.';
comment on column offtake.change_log.row_key is 'As in captured_change. Null: the whole table is copied anew, in place.';
comment on column offtake.change_log.deleted is
  'The key left this tenant or the table (a tombstone). Information only: the sync engine reads the current state of the key.';
comment on column offtake.change_log.captured_at is 'When the trigger ran: at or before the commit of the change.';

create table offtake.change_log_0 partition of offtake.change_log for values from (0) to (10000000);

create view offtake.deleted_row as
  select sequence_id, source_table, tenant_id, row_key, captured_at as deleted_at, sequenced_at
    from offtake.change_log
   where deleted;
comment on view offtake.deleted_row is 'The tombstones: keys of rows that left a table or a tenant, never their values.';

-- ---------------------------------------------------------------------------------------------------- destinations

create table offtake.destination (
  destination_id  bigint generated always as identity primary key,
  tenant_id       text        not null,
  name            text        not null,
  kind            text        not null default 'postgres',
  schema_name     text        not null,
  host            text        not null,
  port            integer     not null,
  database_name   text        not null,
  user_name       text        not null,
  shared          boolean     not null default false,
  mappings        text[]      not null,
  source_tables   text[]      not null,
  active          boolean     not null default true,
  refused         text,
  state           text        not null default 'backfilling'
                  check (state in ('in_sync', 'lagging', 'backfilling', 'degraded', 'blocked', 'paused', 'needs_rebuild')),
  reason          text,
  sequence_id     bigint,
  last_success_at timestamptz,
  last_error      text,
  last_error_at   timestamptz,
  consecutive_failures integer not null default 0,
  paused_at       timestamptz,
  paused_until    timestamptz,
  pause_reason    text,
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  unique (tenant_id, name)
) with (fillfactor = 70);
comment on table offtake.destination is
  'The registry: one row per destination known to the daemon. It holds no password; connection strings stay in memory.';
comment on column offtake.destination.source_tables is 'The source table of each of its mappings, in the same order: the poller finds who cares without parsing files.';
comment on column offtake.destination.active is 'False once the configuration or the destinations query no longer names it.';
comment on column offtake.destination.refused is 'Why the registry will not sync it at all (two tenants in one schema, an unusable URL); null normally.';
comment on column offtake.destination.state is 'As the last sync left it. What a reader is told is computed anew: see the status query.';
comment on column offtake.destination.sequence_id is 'The lowest cursor of its mappings, mirrored; the destination''s own row is the truth.';

create table offtake.destination_mapping (
  destination_id  bigint      not null references offtake.destination on delete cascade,
  mapping         text        not null,
  sequence_id     bigint      not null,
  backfilled      boolean     not null,
  target_identity text,
  rows_done       bigint      not null default 0,
  rows_total      bigint,
  backfill_started_at  timestamptz,
  backfill_finished_at timestamptz,
  error           text,
  sqlstate        text,
  failures        integer     not null default 0,
  retry_at        timestamptz,
  updated_at      timestamptz not null default now(),
  primary key (destination_id, mapping)
) with (fillfactor = 70);
comment on table offtake.destination_mapping is
  'Mirror of one row of a destination''s _offtake_state, for status and retention. Written after the destination''s commit, so it may be behind, never ahead.';
comment on column offtake.destination_mapping.target_identity is
  'oid and file of the destination''s table as last seen: a truncated, restored or replaced table has another, and is copied anew.';
comment on column offtake.destination_mapping.rows_total is 'The planner''s estimate when the backfill began; null when unknown.';
comment on column offtake.destination_mapping.retry_at is 'After an error of this mapping alone: when it is tried again; the other mappings of the destination go on.';

create table offtake.outgoing_request (
  request_id         bigint generated always as identity primary key,
  kind               text        not null check (kind in ('sync', 'webhook')),
  destination_id     bigint      not null references offtake.destination on delete cascade,
  wanted_sequence_id bigint      not null,
  not_before         timestamptz not null default now(),
  attempt            bigint      not null default 0,
  failures           integer     not null default 0,
  leased_until       timestamptz,
  leased_by          text,
  last_error         text,
  created_at         timestamptz not null default now(),
  owed_since         timestamptz not null default now()
) with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0
);
create unique index outgoing_request_sync on offtake.outgoing_request (destination_id) where kind = 'sync';
create index outgoing_request_due on offtake.outgoing_request (not_before);
comment on table offtake.outgoing_request is
  'A destination is owed a sync up to wanted_sequence_id. One row per destination while anything is owed; deleted when its cursor has reached it.';
comment on column offtake.outgoing_request.attempt is
  'Raised by every claim; heartbeats and completions carry it, so a worker whose lease was taken over changes nothing here.';
comment on column offtake.outgoing_request.failures is 'Failed attempts since the last success; greater than 0 means that not_before is a backoff and new changes do not shorten it.';
comment on column offtake.outgoing_request.not_before is 'Due from then on; also the turn order between destinations.';

-- ---------------------------------------------------------------------------------------------------- single rows and switches

create table offtake.poller_position (
  single      boolean primary key default true check (single),
  sequence_id bigint      not null,
  updated_at  timestamptz not null default now()
) with (fillfactor = 10);
comment on table offtake.poller_position is 'Up to which sequence id the poller has turned changes into requests. Moves in the transaction that writes the requests.';
insert into offtake.poller_position (sequence_id) values (0);

create table offtake.epoch (
  epoch_id          uuid        primary key default gen_random_uuid(),
  reason            text        not null,
  system_identifier text        not null default (pg_control_system()).system_identifier::text,
  timeline          text        not null default left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
  started_at        timestamptz not null default clock_timestamp()
);
comment on table offtake.epoch is
  'One row per unbroken history of this source; the latest counts. A destination''s cursor is only valid inside the epoch it was written in.';
comment on column offtake.epoch.system_identifier is 'Of the server the history was written on: a logical restore into another server has another.';
comment on column offtake.epoch.timeline is 'Of its write-ahead log: a restore to a point in time, or a promoted standby, begins another.';
insert into offtake.epoch (reason) values ('offtake init');

create table offtake.fuse (
  name       text        primary key,
  enabled    boolean     not null default true,
  reason     text,
  until      timestamptz,
  changed_at timestamptz not null default now()
);
comment on table offtake.fuse is
  'A switch that stops one loop, tenant, destination or mapping: sequencer, poller, sync, destination:TENANT/NAME, mapping:NAME. No row means enabled.';
comment on column offtake.fuse.until is 'A blown fuse heals by itself then; null: only by command.';

create table offtake.quarantined_row (
  destination_id  bigint      not null references offtake.destination on delete cascade,
  mapping         text        not null,
  row_key         jsonb       not null,
  sqlstate        text        not null,
  error           text        not null,
  attempts        integer     not null default 1,
  first_failed_at timestamptz not null default now(),
  last_failed_at  timestamptz not null default now(),
  retry_at        timestamptz not null,
  primary key (destination_id, mapping, row_key)
);
comment on table offtake.quarantined_row is
  'A row that its destination refuses, by key; never its values. It is read again when it changes, at retry_at, or by command.';

create table offtake.job (
  job_id         bigint generated always as identity primary key,
  kind           text        not null check (kind in ('backfill', 'resync', 'verify')),
  destination_id bigint      references offtake.destination on delete cascade,
  mapping        text,
  state          text        not null check (state in ('running', 'done', 'failed')),
  rows_done      bigint      not null default 0,
  started_at     timestamptz not null default now(),
  finished_at    timestamptz,
  error          text
);
create index job_destination on offtake.job (destination_id, mapping, job_id);
comment on table offtake.job is 'A long piece of work on one destination and mapping, for people and status; the checkpoint itself is in the destination.';

create table offtake.job_chunk (
  job_id      bigint      not null references offtake.job on delete cascade,
  chunk       integer     not null,
  up_to_key   jsonb,
  rows        bigint      not null,
  finished_at timestamptz not null default now(),
  primary key (job_id, chunk)
);
comment on table offtake.job_chunk is 'One committed chunk of a job: up to which key, how many rows. Kept for the latest job of a mapping.';
comment on column offtake.job_chunk.up_to_key is 'Null: to the end of the table.';

-- Long pieces of work that any daemon goes on with after a crash: exports, snapshots and restores.
-- Daemons of the version before this one may go on running: they do not know the tables.

create table offtake.job (
  job_id          bigint      generated always as identity primary key,
  public_id       text        not null unique,
  kind            text        not null check (kind in ('export', 'snapshot', 'restore')),
  tenant_id       text        not null,
  source_tenant_id text,
  store           text,
  folder          text,
  options         jsonb       not null default '{}',
  state           text        not null default 'accepted'
                  check (state in ('accepted', 'processing', 'paused', 'settling', 'completed', 'expired', 'failed', 'cancelled')),
  reason          text,
  cancel_requested_at timestamptz,
  attempt         bigint      not null default 0,
  leased_until    timestamptz,
  leased_by       text,
  not_before      timestamptz not null default now(),
  failures        integer     not null default 0,
  mapping         text,
  round           integer     not null default 0,
  rows_total      bigint,
  rows_done       bigint      not null default 0,
  bytes_done      bigint      not null default 0,
  percent         integer     not null default 0 check (percent between 0 and 100),
  from_sequence_id bigint,
  sequence_id     bigint,
  epoch           text,
  consistency     text        check (consistency in ('snapshot', 'settled', 'none')),
  files           jsonb,
  upload          jsonb,
  idempotency_key text,
  created_at      timestamptz not null default now(),
  started_at      timestamptz,
  finished_at     timestamptz,
  expires_at      timestamptz,
  updated_at      timestamptz not null default now(),
  check (store is null or folder is null)
) with (fillfactor = 70);
create index job_due on offtake.job (not_before) where state in ('accepted', 'processing', 'paused', 'settling');
create unique index job_running_export on offtake.job (tenant_id)
  where kind = 'export' and state in ('accepted', 'processing', 'paused', 'settling');
create index job_tenant on offtake.job (tenant_id, kind, job_id);
create index job_expiring on offtake.job (expires_at) where state in ('completed', 'failed', 'cancelled') and expires_at is not null;
create index job_idempotency on offtake.job (idempotency_key) where idempotency_key is not null;
comment on table offtake.job is
  'An export, a snapshot or a restore of one tenant: what was asked for, who works on it, and how far it is. It holds no secret and no value.';
comment on column offtake.job.public_id is 'What people and programs call it: exp_20261128-031300_k7f3a2. Nothing of the tenant is in it.';
comment on column offtake.job.source_tenant_id is 'The tenant as change_log.tenant_id has it; null: as tenant_id.';
comment on column offtake.job.store is 'The store of offtake.yaml that its files go to; null: a command writes them, and no daemon claims the job.';
comment on column offtake.job.folder is 'Where the command writes that does the work itself; null: a store has the files.';
comment on column offtake.job.options is 'What was asked for: format, mappings and their versions, compression and so on.';
comment on column offtake.job.state is
  'accepted, processing, paused and settling are the states of a job that goes on. failed and cancelled can be resumed while its parts exist.';
comment on column offtake.job.reason is 'Why it is paused, has failed or was cancelled; null normally.';
comment on column offtake.job.attempt is
  'Raised by each claim. Every statement of a worker carries it, and so does the name of every object that it writes: '
  'a worker whose lease ran out changes nothing and overwrites nothing.';
comment on column offtake.job.leased_until is 'Null: no process works on it. In the past: the process that did is gone or hangs.';
comment on column offtake.job.not_before is 'No process claims it earlier: the end of a pause.';
comment on column offtake.job.failures is 'Attempts that failed in a row, for the pause before the next one.';
comment on column offtake.job.mapping is 'The mapping that is read now.';
comment on column offtake.job.round is 'Of settling: 0 while rows are copied for the first time.';
comment on column offtake.job.rows_total is 'The planner''s estimate until all rows were read once.';
comment on column offtake.job.percent is 'Never falls, and is 100 only when the job is completed.';
comment on column offtake.job.from_sequence_id is 'The lowest sequence id that one of its parts was read at; differs from sequence_id where consistency is none.';
comment on column offtake.job.consistency is
  'snapshot: all rows are of one snapshot. settled: of one moment, after what had changed was read again. none: parts are of several moments.';
comment on column offtake.job.files is 'Once completed: name, size, SHA-256 and rows of each file.';
comment on column offtake.job.upload is 'Of an upload that is not complete: what is needed to abort it.';
comment on column offtake.job.expires_at is 'When its files are deleted; null: never.';

create table offtake.job_chunk (
  job_id          bigint      not null references offtake.job on delete cascade,
  mapping         text        not null,
  chunk           integer     not null,
  piece           integer     not null default 0,
  after_key       jsonb,
  up_to_key       jsonb,
  rows            bigint      not null,
  bytes           bigint      not null,
  sha256          text,
  object          text,
  sequence_id     bigint      not null,
  round           integer     not null default 0,
  finished_at     timestamptz not null default now(),
  primary key (job_id, mapping, chunk, piece)
);
comment on table offtake.job_chunk is
  'One part of a job that is in its store: the rows of a mapping with after_key < key <= up_to_key. The parts of a mapping have all keys between them.';
comment on column offtake.job_chunk.piece is 'A chunk that had grown too large when it was read again has several.';
comment on column offtake.job_chunk.after_key is 'Null: from the first row.';
comment on column offtake.job_chunk.up_to_key is 'Null: to the end of the table.';
comment on column offtake.job_chunk.bytes is 'Of the object, as stored.';
comment on column offtake.job_chunk.object is 'The name of the object in the store; null: the part has no rows.';
comment on column offtake.job_chunk.sequence_id is 'The highest sequence id that was visible in the snapshot it was read in. Changes up to it are in the part.';

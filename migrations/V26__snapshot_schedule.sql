-- Snapshots that daemons make: when the next one of each tenant is due. Daemons of the version before this
-- one may go on running: they neither know the table nor claim a snapshot.

create table offtake.snapshot_schedule (
  tenant_at_source text       primary key,
  tenant_id       text        not null,
  next_at         timestamptz not null,
  since           timestamptz not null default now(),
  made_at         timestamptz
) with (fillfactor = 70);
create index snapshot_schedule_next on offtake.snapshot_schedule (next_at);
create index snapshot_schedule_made on offtake.snapshot_schedule ((coalesce(made_at, since)));
comment on table offtake.snapshot_schedule is
  'The tenants of which daemons make snapshots, by snapshots.every. A tenant of whom no destination and no webhook is registered has no row.';
comment on column offtake.snapshot_schedule.tenant_at_source is 'The tenant as the source prints it.';
comment on column offtake.snapshot_schedule.tenant_id is 'The tenant as the configuration spells it.';
comment on column offtake.snapshot_schedule.next_at is
  'When its next interval begins. The transaction that moves it on records the job, so that an interval has one.';
comment on column offtake.snapshot_schedule.since is 'Since when it has a row.';
comment on column offtake.snapshot_schedule.made_at is 'When its newest snapshot was complete, or the tenant was found to have no row; null: never.';

create unique index job_running_snapshot on offtake.job (coalesce(source_tenant_id, tenant_id))
  where kind = 'snapshot' and state in ('accepted', 'processing', 'paused', 'settling');
create index job_by_state on offtake.job (kind, state);

create table offtake.restored_rows (
  operation       text        primary key check (operation in ('add', 'change', 'delete')),
  rows            bigint      not null
);
insert into offtake.restored_rows (operation, rows) values ('add', 0), ('change', 0), ('delete', 0);
comment on table offtake.restored_rows is 'What restores of snapshots have written since this schema was made, for the metrics.';

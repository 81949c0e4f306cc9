-- Whose copy a destination is. The rest of it stands in the destination's own _offtake_state.

create table offtake.installation (
  single          boolean     primary key default true check (single),
  installation_id uuid        not null default gen_random_uuid(),
  installed_at    timestamptz not null default now()
);
comment on table offtake.installation is
  'Its one row tells this source from every other one. A copy of this database has the same row, and another database, server or timeline.';
insert into offtake.installation default values;

create table offtake.visit (
  destination_id bigint      not null references offtake.destination on delete cascade,
  number         bigint      not null,
  visit_id       uuid        not null default gen_random_uuid(),
  visited_at     timestamptz not null default now(),
  primary key (destination_id, number)
);
comment on table offtake.visit is
  'The latest times that a worker wrote this source''s name into a destination; durable before the destination has it. A number or id found '
  'there that is not here was written by a copy of this source, or by this source before it was set back.';

alter table offtake.destination add column adopt_requested_at timestamptz;
comment on column offtake.destination.adopt_requested_at is
  'An operator said that this source serves the destination from now on, whoever served it before. Null once it does.';

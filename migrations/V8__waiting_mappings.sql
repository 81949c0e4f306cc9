-- Lets the status say of a destination that it has not got one of its mappings. Daemons of the
-- version before this one may go on running: they neither read nor write it.

create table offtake.waiting_mapping (
  destination_id bigint      not null references offtake.destination on delete cascade,
  mapping        text        not null,
  reason         text        not null,
  since          timestamptz not null default now(),
  primary key (destination_id, mapping)
);
comment on table offtake.waiting_mapping is
  'A mapping that a destination should have and that no daemon keeps: its triggers or rights are '
  'missing, or its file cannot be used. One row per destination and mapping; the loop '
  '`destinations` writes it whenever that changes.';
comment on column offtake.waiting_mapping.reason is 'One line: what is missing, and the command or statement that mends it.';

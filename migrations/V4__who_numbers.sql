-- Daemons with different mapping files beside each other, as while a new version is rolled out.

create table offtake.numbering (
  single boolean     primary key default true check (single),
  daemon text        not null,
  needs  text[]      not null,
  since  timestamptz not null default now()
) with (fillfactor = 10);
comment on table offtake.numbering is
  'Which daemon numbered changes last, and the mappings that it numbered them for. Written under the sequencer''s lock, when either changes '
  'so that it matters; no row before the first daemon that writes it.';
comment on column offtake.numbering.needs is
  'Per mapping its name and a hash of what wakes it. A captured change is numbered once, for the mappings that its numberer knows.';

create table offtake.overlooked_mapping (
  mapping       text        primary key,
  overlooked_at timestamptz not null default now()
);
comment on table offtake.overlooked_mapping is
  'A mapping whose changes a daemon with other mapping files numbered, or whose capture such a daemon rewrote, lately at overlooked_at. '
  'Some of them may have been missed. Copied anew, in place, by a daemon that knows it, once that is over.';

alter table offtake.destination_mapping add column need text;
comment on column offtake.destination_mapping.need is
  'The mapping''s name and a hash of what wakes it, as in numbering.needs, of the version that is copied here; told before anything is copied. '
  'Null: not known.';

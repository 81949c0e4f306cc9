-- Tables that were seen unlogged. A crash of the server may have emptied them meanwhile, which no
-- trigger and no catalog row tells.

create table offtake.unlogged_table (
  source_table text        primary key,
  seen_at      timestamptz not null default now()
);
comment on table offtake.unlogged_table is
  'Captured tables that are unlogged, or were at the last look. When such a table is logged again, '
  'its row is deleted and a change of the whole table is captured, in one statement.';
comment on column offtake.unlogged_table.source_table is 'schema.table, as mappings name it; a partition or child of it may be the unlogged one';

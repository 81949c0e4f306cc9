-- The log of a captured copy: offtake.captured_change as the migrations leave it, in the schema
-- {schema}. The source may not have the schema offtake yet; a test compares the two tables.
create table {schema}.captured_change (
  capture_id   bigint generated always as identity primary key,
  source_table text        not null,
  operation    "char"      not null,
  tenant_id    text,
  row_key      jsonb,
  matched      jsonb,
  resume       jsonb,
  captured_at  timestamptz not null default clock_timestamp(),
  keys         text[],
  key_count    integer,
  key_column   text,
  keys_deleted boolean
) with (autovacuum_enabled = off);
alter table {schema}.captured_change alter column keys set storage external;

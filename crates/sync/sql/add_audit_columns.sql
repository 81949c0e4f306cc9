-- A state table that a version without the continuous audit made. {state} is the table.
alter table {state}
  add column if not exists verified_at timestamptz, add column if not exists differences bigint

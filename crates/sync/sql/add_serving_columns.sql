-- A state table that an older version made. {state} is the table.
alter table {state}
  add column if not exists source text, add column if not exists source_identity jsonb,
  add column if not exists served_since timestamptz, add column if not exists served_at timestamptz

-- A statement that changes many rows is captured in lists of keys: a row for each key would cost it
-- more than the change itself. The operation of a list is t, so that a daemon of an earlier version
-- takes it for a change of the whole table and copies the table again, and loses nothing.

alter table offtake.captured_change
  add column keys text[],
  add column key_count integer,
  add column key_column text,
  add column keys_deleted boolean;
-- Compressing would cost the application's statement more than writing the bytes.
alter table offtake.captured_change alter column keys set storage external;

comment on column offtake.captured_change.operation is
  'c: the key exists or matched columns changed; d: the key left this tenant or the table; t: the whole table may have changed, '
  'or, where keys is not null, these rows; r: the sequencer''s own note where to go on expanding a change with many dependants.';
comment on column offtake.captured_change.keys is
  'The keys of many rows of the tenant, in no order: the texts of key_column, or, where that is null, row keys as text.';
comment on column offtake.captured_change.key_count is 'How many keys there are; null: keys is null.';
comment on column offtake.captured_change.key_column is 'The only column of the key; null: the key has several.';
comment on column offtake.captured_change.keys_deleted is 'True: the keys left this tenant or the table, as d says of one key.';

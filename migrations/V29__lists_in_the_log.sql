-- The keys of a statement over many rows go into the log in lists, as they were captured (V14). Each
-- key has a sequence id of its own as before: a list's are consecutive, and the row has the last one.
-- row_key is null in it, so that a daemon of an earlier version takes it for a change of the whole
-- table and copies the table again, and loses nothing.

alter table offtake.change_log
  add column keys text[],
  add column key_count integer,
  add column key_column text;
-- Compressing costs more than writing the bytes.
alter table offtake.change_log alter column keys set storage external;

comment on column offtake.change_log.row_key is 'As in captured_change. Null: where keys is null too, the whole table is copied anew, in place.';
comment on column offtake.change_log.keys is
  'The keys of many rows of the tenant: the texts of key_column, or, where that is null, row keys as text. '
  'Their sequence ids are those up to the row''s.';
comment on column offtake.change_log.key_count is 'How many keys there are; null: keys is null.';
comment on column offtake.change_log.key_column is 'The only column of the key; null: the key has several.';

-- The keys of a list, each with its sequence id. The server puts it into the statement that calls it.
-- The count is given, because the length of the list would be read from it for each key.
create function offtake.keys_of(last_id bigint, listed_count integer, listed text[], listed_column text)
  returns table (sequence_id bigint, row_key jsonb) language sql immutable parallel safe
as $$
  select last_id - listed_count + k.position,
         case when listed_column is null then k.key::pg_catalog.jsonb else pg_catalog.jsonb_object(array[listed_column, k.key]) end
    from pg_catalog.unnest(listed) with ordinality k (key, position)
$$;

create or replace view offtake.deleted_row as
  select sequence_id, source_table, tenant_id, row_key, captured_at as deleted_at, sequenced_at
    from offtake.change_log
   where deleted and key_count is null
  union all
  select k.sequence_id, l.source_table, l.tenant_id, k.row_key, l.captured_at, l.sequenced_at
    from offtake.change_log l
   cross join lateral offtake.keys_of(l.sequence_id, l.key_count, l.keys, l.key_column) k
   where l.deleted and l.key_count is not null;

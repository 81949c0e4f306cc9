-- What many webhooks need so that no status looks at each of them: how many there are, and indexes of
-- those that may not be in sync. And why a webhook is told of less than it asks for. Daemons of the
-- version before this one may go on running: the triggers count what they register too.

alter table offtake.webhook add column incomplete text;
comment on column offtake.webhook.incomplete is
  'Why it is told of less than its `mappings` list: no mapping has one of the names. Null: it is told of all of them.';

create table offtake.webhook_count (
  webhooks bigint not null
);
comment on table offtake.webhook_count is
  'How many active webhooks there are: the sum of its rows. A statement that adds or removes webhooks appends a row, so that none waits for '
  'another one; the poller''s sweep adds the rows up.';

create function offtake.count_webhooks() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into offtake.webhook_count (webhooks) select count(*) from added where active having count(*) > 0;
  elsif tg_op = 'DELETE' then
    insert into offtake.webhook_count (webhooks) select -count(*) from removed where active having count(*) > 0;
  else
    insert into offtake.webhook_count (webhooks) values (case when new.active then 1 else -1 end);
  end if;
  return null;
end
$$;
create trigger webhooks_added after insert on offtake.webhook
  referencing new table as added for each statement execute function offtake.count_webhooks();
create trigger webhooks_removed after delete on offtake.webhook
  referencing old table as removed for each statement execute function offtake.count_webhooks();
create trigger webhook_changed after update of active on offtake.webhook
  for each row when (old.active is distinct from new.active) execute function offtake.count_webhooks();
insert into offtake.webhook_count (webhooks) select count(*) from offtake.webhook where active;

-- Webhooks of which the status must not say that they are in sync without a look.
create index webhook_unsettled on offtake.webhook (webhook_id)
 where active and (state <> 'in_sync' or refused is not null or incomplete is not null or disabled_at is not null or paused_at is not null
                   or consecutive_failures > 0);
create index webhook_mapping_failing on offtake.webhook_mapping (webhook_id) where error is not null or failures > 0;

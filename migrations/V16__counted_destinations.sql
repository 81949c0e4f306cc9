-- What many destinations need so that no daemon looks at each of them again and again. For status
-- and metrics: how many there are, the newest change of each table, and an index of those that may
-- not be in sync. For the daemons' refresh: which ones another process has changed. Daemons of the
-- version before this one may go on running: the triggers count what they register too.

create table offtake.destination_count (
  mappings      text[] not null,
  source_tables text[] not null,
  destinations  bigint not null
);
comment on table offtake.destination_count is
  'How many active destinations have these mappings: the sum of its rows. A statement that adds or removes destinations appends a row, '
  'so that none waits for another one; the poller''s sweep adds the rows up.';

create table offtake.registration (
  number      bigint generated always as identity primary key,
  destination bigint not null
);
comment on table offtake.registration is
  'A destination was added, changed or removed. A daemon that knows the destinations up to a number looks only at those behind it. '
  'The poller''s sweep keeps the latest ten thousand; a daemon that has missed more looks at all destinations.';
comment on column offtake.registration.destination is 'Its destination_id; the destination may be gone.';

create function offtake.count_destinations() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into offtake.destination_count (mappings, source_tables, destinations)
    select mappings, source_tables, count(*) from added where active group by mappings, source_tables;
    insert into offtake.registration (destination) select destination_id from added;
  elsif tg_op = 'DELETE' then
    insert into offtake.destination_count (mappings, source_tables, destinations)
    select mappings, source_tables, -count(*) from removed where active group by mappings, source_tables;
    insert into offtake.registration (destination) select destination_id from removed;
  else
    insert into offtake.destination_count (mappings, source_tables, destinations)
    select old.mappings, old.source_tables, -1 where old.active
     union all
    select new.mappings, new.source_tables, 1 where new.active;
  end if;
  return null;
end
$$;
create trigger destinations_added after insert on offtake.destination
  referencing new table as added for each statement execute function offtake.count_destinations();
create trigger destinations_removed after delete on offtake.destination
  referencing old table as removed for each statement execute function offtake.count_destinations();
create trigger destination_changed after update of active, mappings, source_tables on offtake.destination
  for each row when ((old.active, old.mappings, old.source_tables) is distinct from (new.active, new.mappings, new.source_tables))
  execute function offtake.count_destinations();
insert into offtake.destination_count (mappings, source_tables, destinations)
select mappings, source_tables, count(*) from offtake.destination where active group by mappings, source_tables;

-- A destination that is another one than before is not in sync until a worker has been there, and
-- every daemon learns of it.
create function offtake.doubt_destination() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.state := case when new.state = 'in_sync' then 'lagging' else new.state end;
  insert into offtake.registration (destination) values (new.destination_id);
  return new;
end
$$;
create trigger destination_doubted
  before update of schema_name, host, port, database_name, user_name, shared, mappings, source_tables, active, refused, source_tenant_id
  on offtake.destination for each row
  when ((old.schema_name, old.host, old.port, old.database_name, old.user_name, old.shared, old.mappings, old.source_tables, old.active, old.refused,
         old.source_tenant_id)
        is distinct from
        (new.schema_name, new.host, new.port, new.database_name, new.user_name, new.shared, new.mappings, new.source_tables, new.active, new.refused,
         new.source_tenant_id))
  execute function offtake.doubt_destination();

-- Destinations of which the status must not say that they are in sync without a look.
create index destination_unsettled on offtake.destination (destination_id)
 where active and (state <> 'in_sync' or refused is not null or consecutive_failures > 0 or paused_at is not null);
create index destination_mapping_unsettled on offtake.destination_mapping (destination_id)
 where not backfilled or error is not null or failures > 0 or differences > 0;

alter table offtake.poller_position add column newest jsonb not null default '{}';
comment on column offtake.poller_position.newest is
  'The newest change of each source table that concerned a destination, up to the position. Moves with it.';
update offtake.poller_position
   set newest = coalesce((select jsonb_object_agg(source_table, sequence_id)
                            from (select source_table, max(sequence_id) as sequence_id from offtake.change_log group by source_table) t), '{}');

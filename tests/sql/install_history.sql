-- Records every change of every row in a destination, from the creation of its table on, and every
-- DDL statement. A writer holds the lock on the destination's state rows until it commits, so the
-- order of `id` is the order of commits.
create schema history;
create table history.change (
  id         bigint generated always as identity primary key,
  at         timestamptz not null default clock_timestamp(),
  transaction xid8 not null default pg_current_xact_id(),
  table_name text not null,
  old        jsonb,
  new        jsonb,
  same       boolean not null
);
create table history.ddl (
  at  timestamptz not null default clock_timestamp(),
  tag text not null,
  identity text
);

create function history.record() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
begin
  insert into history.change (table_name, old, new, same)
  values (tg_table_name, to_jsonb(old), to_jsonb(new), tg_op = 'UPDATE' and old *= new);
  return null;
end $$;

create function history.watch() returns event_trigger language plpgsql security definer set search_path = pg_catalog as $$
declare
  command record;
begin
  for command in select * from pg_event_trigger_ddl_commands() where object_identity not like 'history on %' loop
    insert into history.ddl (tag, identity) values (command.command_tag, command.object_identity);
    if command.command_tag = 'CREATE TABLE' and command.object_type = 'table' then
      execute format('create trigger history after insert or update or delete on %s for each row execute function history.record()',
                     command.object_identity);
    end if;
  end loop;
end $$;
create event trigger history on ddl_command_end execute function history.watch();

-- Has a destination's server keep every state of every row, from the creation of its table on, in
-- its log: in the order of commits, and without a trigger on any table. The publication is what
-- `history::decoded` reads. The server needs wal_level = logical.
create publication history for all tables;
create schema history;
create function history.watch() returns event_trigger language plpgsql security definer set search_path = pg_catalog as $$
declare
  command record;
begin
  for command in select * from pg_event_trigger_ddl_commands() loop
    if command.command_tag = 'CREATE TABLE' and command.object_type = 'table' and command.schema_name <> 'pg_temp' then
      execute format('alter table %s replica identity full', command.object_identity);
    end if;
  end loop;
end $$;
create event trigger history on ddl_command_end execute function history.watch();

-- The destinations that are registered, of those that are to be registered: their ids, and whether
-- the registration says something else of them than $1 jsonb does, which is as
-- register_destinations.sql takes it. Locks nothing: at a daemon's start all of them are as they
-- were, and their workers are at work. The registry calls it in its transaction, under its lock, so
-- no other registry writes between this and register_destinations.sql. Each is found by an index: a
-- join reads all destinations for each thousand.
select d.destination_id,
       (d.kind, d.schema_name, d.host, d.port, d.database_name, d.user_name, d.shared, d.mappings, d.source_tables, d.active)
         is distinct from (g.kind, g.schema_name, g.host, g.port, g.database_name, g.user_name, g.shared, g.mappings, g.source_tables, true)
       or d.refused is distinct from g.refused
       or d.source_tenant_id is distinct from g.source_tenant_id as changes
  from jsonb_to_recordset($1) as g (tenant_id text, name text, kind text, schema_name text, host text, port int, database_name text, user_name text,
                                    shared boolean, mappings text[], source_tables text[], refused text, source_tenant_id text)
  cross join lateral (select * from offtake.destination d where d.tenant_id = g.tenant_id and d.name = g.name offset 0) d

-- What the registry knows of the destinations of the tenants $1 text[] with the names $2 text[], for
-- the decision who of several stays at one place. Read under the registry's lock. `mirrored`: rows were written at the place where it is
-- registered, because a move deletes its mirror.
select d.tenant_id, d.name, d.destination_id, d.host, d.port, d.database_name, d.schema_name, d.shared, d.active,
       d.refused is null as accepted, d.consecutive_failures > 0 as failing,
       exists (select from offtake.destination_mapping m
                where m.destination_id = d.destination_id and m.backfill_started_at is not null) as mirrored
  from unnest($1::text[], $2::text[]) given (tenant_id, name)
  join offtake.destination d using (tenant_id, name)

-- What this source is, and what it knows of the visits that many destinations tell, as
-- read_identity.sql says of one; see there. $1 bigint[] the destinations at hand, $2 bigint[] those
-- that were visited, $3 bigint[] the visits' numbers, $4 bigint[] requests, $5 bigint[] attempts: one
-- of each per destination, in the order in which they are answered. The server reads a file for its
-- identifier, so that is asked once.
with here as materialized (
  select i.installation_id::text as installation,
         (pg_control_system()).system_identifier::text as server,
         left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) as timeline,
         d.oid::text as database, d.datname::text as name
    from offtake.installation i, pg_database d
   where d.datname = current_database()
)
select here.*,
       (select max(number) from offtake.visit v where v.destination_id = told.visited) as newest,
       (select min(number) from offtake.visit v where v.destination_id = told.visited) as oldest,
       (select visit_id::text from offtake.visit v where v.destination_id = told.visited and v.number = told.number) as visit_id,
       coalesce((select a.adopt_requested_at is not null from offtake.destination a where a.destination_id = told.destination_id), false) as adopt,
       coalesce((select r.attempt = told.attempt from offtake.outgoing_request r where r.request_id = told.request_id), false) as ours
  from here,
       unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) with ordinality
         told (destination_id, visited, number, request_id, attempt, at)
 order by told.at

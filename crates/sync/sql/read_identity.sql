-- What this source is, and what it knows of the visit that a destination tells. $1 bigint the
-- destination that was visited, null: none; $2 bigint the visit's number, null: none; $3 bigint the
-- destination at hand; $4 bigint the request and $5 bigint the attempt by which a worker has it,
-- null: no worker asks. newest and oldest: the numbers of the visits that are remembered. ours: the
-- worker still has it.
select i.installation_id::text as installation,
       (pg_control_system()).system_identifier::text as server,
       left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) as timeline,
       d.oid::text as database, d.datname::text as name,
       (select max(number) from offtake.visit v where v.destination_id = $1) as newest,
       (select min(number) from offtake.visit v where v.destination_id = $1) as oldest,
       (select visit_id::text from offtake.visit v where v.destination_id = $1 and v.number = $2) as visit_id,
       exists (select from offtake.destination a where a.destination_id = $3 and a.adopt_requested_at is not null) as adopt,
       $4::bigint is null or exists (select from offtake.outgoing_request r where r.request_id = $4 and r.attempt = $5) as ours
  from offtake.installation i, pg_database d
 where d.datname = current_database()

-- Owes a visit to the destinations of a place, and says where to go on: a worker found that the
-- copy of one of them is lost, so those of the others may be lost, too. $1 text host, $2 int port, $3
-- text database, $4 text schema; $5 bigint: the destination after which to begin; $6 bigint: how many
-- destinations, of any place, to look at. The request of a visit moves no cursor. Returns after which
-- destination to go on; null at the end.
-- The sync engine calls it; each slice is a transaction of its own.
with slice as materialized (
  select * from offtake.destination where destination_id > $5 order by destination_id limit $6
), owed as (
  insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id)
  select 'sync', destination_id, coalesce(sequence_id, 0)
    from slice
   where active and refused is null and (host, port, database_name, schema_name) = ($1, $2, $3, $4)
     and not exists (select from offtake.fuse where name = 'poller' and not enabled and (until is null or until > now()))
   order by destination_id
  on conflict (destination_id) where kind = 'sync' do nothing
)
select max(destination_id) as next from slice

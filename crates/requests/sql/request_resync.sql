-- An operator asks that copies be made again, in place: $1 bigint[] destinations, $2 the mapping,
-- null: all of each. A mapping that waits for its own retry is tried at once. Returns the resync
-- requests.
-- The admin side calls it; a transaction of its own, so that the resyncs and the syncs they need
-- are asked for together. A worker that has one of the destinations at the moment read its claim
-- before this; it loses the lease here. Otherwise it could complete the request without having seen
-- the resync.
with asked as (
  insert into offtake.resync_request (destination_id, mapping)
  select d.destination_id, m.mapping from offtake.destination d cross join unnest(d.mappings) m (mapping)
   where d.destination_id = any($1) and d.active and ($2::text is null or m.mapping = $2)
  returning resync_id, destination_id, mapping
), lifted as (
  update offtake.destination_mapping m set retry_at = now() from asked a
   where (m.destination_id, m.mapping) = (a.destination_id, a.mapping) and m.retry_at > now()
), owed as (
  insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
  select distinct 'sync', destination_id,
         (select sequence_id from offtake.log_head)
    from asked
   order by destination_id
  on conflict (destination_id) where kind = 'sync' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id), not_before = now(),
         attempt = r.attempt + 1, leased_until = null, leased_by = null
)
select resync_id from asked

-- An operator ends what is kept of destinations ($1 bigint[]). From now on no daemon claims or
-- registers them, also one whose configuration still names them. Nothing is owed to them any more,
-- and a worker that has one of them has lost its lease. The admin side calls it; a transaction of
-- its own, before anything is deleted at a destination. Locks the destinations and then their
-- requests in the order of the destinations' ids, as the registry does.
with held as materialized (
  select destination_id from offtake.destination where destination_id = any($1) order by destination_id for no key update
), ended as (
  update offtake.destination d
     set forget_requested_at = coalesce(forget_requested_at, now()), active = false, updated_at = now()
    from held where d.destination_id = held.destination_id
  returning d.destination_id
), owed as materialized (
  select r.request_id from offtake.outgoing_request r
   where r.kind = 'sync' and r.destination_id = any(array(select destination_id from ended))
   order by r.destination_id for update
)
delete from offtake.outgoing_request where request_id = any(array(select request_id from owed))

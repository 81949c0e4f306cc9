-- An operator ends what is kept of destinations ($1 bigint[]). From now on no daemon claims or
-- registers them, also one whose configuration still names them. Nothing is owed to them any more,
-- and a worker that has one of them has lost its lease. The admin side calls it; a transaction of
-- its own, before anything is deleted at a destination.
with ended as (
  update offtake.destination
     set forget_requested_at = coalesce(forget_requested_at, now()), active = false, updated_at = now()
   where destination_id = any($1)
  returning destination_id
)
delete from offtake.outgoing_request r using ended where r.destination_id = ended.destination_id

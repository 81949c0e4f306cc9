-- Deactivates the destinations that configuration and query no longer name: all but $1 bigint[].
-- Nothing is owed to them any more; their rows stay where they are.
-- The sync engine's registry calls it in the transaction that registers the others.
with gone as (
  update offtake.destination set active = false, updated_at = now() where active and not destination_id = any($1) returning destination_id
)
delete from offtake.outgoing_request r using gone where r.destination_id = gone.destination_id

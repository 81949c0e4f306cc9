-- Destinations that the configuration and the query no longer name: $1 bigint[] are those that they
-- do. Nothing is owed to the others any more; their rows stay where they are.
with gone as (
  update offtake.destination set active = false, updated_at = now() where active and not destination_id = any($1) returning destination_id
)
delete from offtake.outgoing_request r using gone where r.destination_id = gone.destination_id

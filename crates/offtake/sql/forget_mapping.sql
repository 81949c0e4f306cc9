-- What the registry keeps of a mapping ($2) that destinations ($1 bigint[]) no longer receive.
with mirror as (
  delete from offtake.destination_mapping where destination_id = any($1) and mapping = $2
), quarantine as (
  delete from offtake.quarantined_row where destination_id = any($1) and mapping = $2
)
delete from offtake.resync_request where destination_id = any($1) and mapping = $2

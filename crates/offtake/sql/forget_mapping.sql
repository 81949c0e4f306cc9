-- What the registry keeps of a mapping ($2) that destinations ($1 bigint[]) no longer receive.
with mirror as (
  delete from offtake.destination_mapping where destination_id = any($1) and mapping = $2
), overlooked as (
  -- Nobody has a copy of it any more that could lack something.
  delete from offtake.overlooked_mapping o
   where o.mapping = $2
     and not exists (select from offtake.destination_mapping m where m.mapping = $2 and m.destination_id <> all($1))
), quarantine as (
  delete from offtake.quarantined_row where destination_id = any($1) and mapping = $2
)
delete from offtake.resync_request where destination_id = any($1) and mapping = $2

-- Deletes what the source keeps about a mapping for destinations that no longer receive it. $1
-- bigint[] the destinations, $2 the mapping.
with mirror as (
  delete from offtake.destination_mapping where destination_id = any($1) and mapping = $2
), overlooked as (
  -- Deleted as soon as no destination has a copy any more that could lack changes.
  delete from offtake.overlooked_mapping o
   where o.mapping = $2
     and not exists (select from offtake.destination_mapping m where m.mapping = $2 and m.destination_id <> all($1))
), quarantine as (
  delete from offtake.quarantined_row where destination_id = any($1) and mapping = $2
)
delete from offtake.resync_request where destination_id = any($1) and mapping = $2

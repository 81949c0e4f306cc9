-- What each mapping's table and cursor were when they were last written, of many destinations, and
-- what a copy of it needs of the capture. $1 bigint[] destinations.
select destination_id, mapping, target_identity, sequence_id, need
  from offtake.destination_mapping where destination_id = any($1::bigint[]) and target_identity is not null

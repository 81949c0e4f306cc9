-- What each mapping's table and cursor were when they were last written. $1 destination.
select mapping, target_identity, sequence_id from offtake.destination_mapping where destination_id = $1 and target_identity is not null

-- What each mapping's table was when it was last written. $1 destination.
select mapping, target_identity from offtake.destination_mapping where destination_id = $1 and target_identity is not null

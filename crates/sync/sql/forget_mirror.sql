-- A destination that moved: what was mirrored of the old place says nothing about the new one. $1
-- destination.
delete from offtake.destination_mapping where destination_id = $1

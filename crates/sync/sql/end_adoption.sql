-- This source serves the destination ($1) now, as an operator asked.
update offtake.destination set adopt_requested_at = null where destination_id = $1 and adopt_requested_at is not null

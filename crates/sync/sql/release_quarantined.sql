-- Rows that a destination took after all: $1 destination, $2 mapping, $3 jsonb[] their keys.
delete from offtake.quarantined_row where destination_id = $1 and mapping = $2 and row_key = any($3)

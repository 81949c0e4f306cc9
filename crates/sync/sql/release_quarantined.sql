-- Rows that a destination took after all: $1 request, $2 attempt, $3 mapping, $4 jsonb[] their
-- keys. Only while the attempt is still ours, and no other can claim meanwhile: a row that a later
-- worker set aside must not be forgotten.
with mine as (
  select destination_id from offtake.outgoing_request where request_id = $1 and attempt = $2 for share
)
delete from offtake.quarantined_row q using mine
 where q.destination_id = mine.destination_id and q.mapping = $3 and q.row_key = any($4)

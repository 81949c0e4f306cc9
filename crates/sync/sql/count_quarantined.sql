-- How many of these keys are quarantined: their absence is told already. $1 destination, $2
-- mapping, $3 jsonb[]: the keys.
select count(*) as rows from unnest($3::jsonb[]) k (row_key)
  join offtake.quarantined_row q on q.destination_id = $1 and q.mapping = $2 and q.row_key = k.row_key

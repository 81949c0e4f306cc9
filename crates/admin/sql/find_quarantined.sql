-- What one key is refused with: by destination $1 bigint or by webhook $2 bigint (the other one is
-- null), in mapping $3 text, with the key $4 jsonb as the log has it. At most one row; through the
-- primary keys of quarantined_row and quarantined_event.
select sqlstate, null::int as status, error, attempts, first_failed_at, last_failed_at, retry_at
  from offtake.quarantined_row where destination_id = $1 and mapping = $3 and row_key = $4
 union all
select sqlstate, status, error, attempts, first_failed_at, last_failed_at, next_attempt_at
  from offtake.quarantined_event where webhook_id = $2 and mapping = $3 and row_key = $4

-- Sets rows aside before the destination's commit that leaves them out: a crash in between leaves
-- an entry too many, never one too few; hence durable, where the session is not. $1 destination, $2
-- mapping, $3 jsonb[] keys, $4 text[] sqlstates, $5 text[] errors. First retry after a minute. A
-- row may be among the changes of a batch and in its chunk; it is one entry all the same. Nothing
-- is written where the destination was forgotten meanwhile.
insert into offtake.quarantined_row as q (destination_id, mapping, row_key, sqlstate, error, retry_at)
select distinct on (row_key) $1, $2, row_key, sqlstate, error, now() + interval '1 minute'
  from unnest($3::jsonb[], $4::text[], $5::text[]) r (row_key, sqlstate, error),
       (select set_config('synchronous_commit', 'on', true) offset 0) durable,
       (select from offtake.destination where destination_id = $1 for key share) there
on conflict (destination_id, mapping, row_key) do update
   set sqlstate = excluded.sqlstate, error = excluded.error, attempts = q.attempts + 1, last_failed_at = now(),
       retry_at = now() + least(interval '1 hour', interval '1 minute' * power(2, least(q.attempts, 6)))

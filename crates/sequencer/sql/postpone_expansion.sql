-- Leaves an expansion to a later tick, by appending it to captured_change as a trigger would. $1
-- text table of the changed rows, $2 text mapping, $3 jsonb[] matched, $4 jsonb[] last expanded key
-- (null: none yet), $5 timestamptz[] captured_at.
insert into offtake.captured_change (source_table, operation, matched, resume, captured_at)
select $1, 'r', matched, jsonb_build_object('mapping', $2::text, 'after', after), captured_at
  from unnest($3::jsonb[], $4::jsonb[], $5::timestamptz[]) given (matched, after, captured_at)

-- Leaves an expansion to a later tick, by appending it to captured_change as a trigger would. $1
-- text table of the changed rows, $2 text mapping, $3 int the waking's number, $4 jsonb[] matched,
-- $5 jsonb[] last expanded key (null: none yet), $6 jsonb[] tenants that it was handed on with
-- (null: none), $7 timestamptz[] captured_at.
insert into offtake.captured_change (source_table, operation, matched, resume, captured_at)
select $1, 'r', matched, jsonb_build_object('mapping', $2::text, 'waking', $3::int, 'after', after, 'tenants', tenants), captured_at
  from unnest($4::jsonb[], $5::jsonb[], $6::jsonb[], $7::timestamptz[]) given (matched, after, tenants, captured_at)

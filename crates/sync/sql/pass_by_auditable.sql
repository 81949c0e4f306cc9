-- Where the next look for copies to be audited begins, because none may be compared of those that
-- list_auditable.sql, with the same parameters, has looked at. No row: there are no more.
select audited_at::text as audited, destination_id
  from offtake.destination_mapping
 where audited_at <= now() - $1::bigint * interval '1 millisecond'
   and (audited_at, destination_id) >= ($2::text::timestamptz, $3::bigint)
 order by audited_at, destination_id offset 999 limit 1

-- Says before anything is copied which versions of their mappings many destinations have copies of,
-- as begin_copies.sql says of one; see there. Each only while its request's attempt is still ours;
-- returns the requests for which it is. $1 bigint[] requests, $2 bigint[] attempts, $3 text[] the
-- mappings of all of them, $4 text[] needs, $5 bigint[] the sequence id of each mapping of each
-- destination, destination by destination.
with mine as materialized (
  select r.request_id, r.destination_id, told.at
    from unnest($1::bigint[], $2::bigint[]) with ordinality told (request_id, attempt, at)
    join offtake.outgoing_request r using (request_id)
   where r.attempt = told.attempt and r.request_id = any($1::bigint[])
), told as (
  insert into offtake.destination_mapping as m (destination_id, mapping, need, sequence_id, backfilled)
  select mine.destination_id, s.mapping, s.need, ($5::bigint[])[(mine.at - 1) * cardinality($3::text[]) + s.number], false
    from mine cross join unnest($3::text[], $4::text[]) with ordinality s (mapping, need, number)
   order by mine.destination_id, s.mapping
  on conflict (destination_id, mapping) do update set need = excluded.need where m.need is distinct from excluded.need
)
select request_id from mine

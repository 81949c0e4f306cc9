-- Says before anything is copied which versions of its mappings a destination has copies of: a
-- daemon that finds overlooked changes must know which copies lack them. Only while the request's
-- attempt is still ours; returns a row then. $1 request, $2 attempt, $3 text[] mappings, $4 text[]
-- needs, $5 bigint[] sequence ids.
with mine as (
  select destination_id from offtake.outgoing_request where request_id = $1 and attempt = $2
), told as (
  insert into offtake.destination_mapping as m (destination_id, mapping, need, sequence_id, backfilled)
  select mine.destination_id, s.mapping, s.need, s.sequence_id, false
    from mine, unnest($3::text[], $4::text[], $5::bigint[]) s (mapping, need, sequence_id)
  on conflict (destination_id, mapping) do update set need = excluded.need where m.need is distinct from excluded.need
)
select from mine

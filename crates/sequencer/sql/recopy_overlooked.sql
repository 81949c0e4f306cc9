-- Requests a re-copy, in every destination, of those mappings of $1 text[] that were overlooked and
-- whose last overlooking is at least $2 bigint milliseconds ago. Returns these mappings.
with due as (
  delete from offtake.overlooked_mapping
   where mapping = any ($1) and overlooked_at < now() - $2::bigint * interval '1 millisecond'
  returning mapping
), asked as (
  insert into offtake.resync_request (destination_id, mapping)
  select c.destination_id, c.mapping from offtake.destination_mapping c join due using (mapping)
)
select mapping from due

-- Requests a re-copy, in every destination, of those mappings of $1 text[] that were overlooked and
-- whose last overlooking is at least $2 bigint milliseconds ago; every webhook that is told of one is
-- owed a resync. The poller's sweep owes the requests. Returns these mappings.
with due as (
  delete from offtake.overlooked_mapping
   where mapping = any ($1) and overlooked_at < now() - $2::bigint * interval '1 millisecond'
  returning mapping
), asked as (
  insert into offtake.resync_request (destination_id, mapping)
  select c.destination_id, c.mapping from offtake.destination_mapping c join due using (mapping)
), told as (
  update offtake.webhook_mapping m
     set resync_reason = coalesce(m.resync_reason, 'overlooked'), retry_at = null, updated_at = now(),
         resync_sequence_id = (select sequence_id from offtake.log_head)
    from due where m.mapping = due.mapping
), renewed as (
  -- New ids, or a receiver that knows those of an earlier resync would drop this one.
  update offtake.webhook w set generation = w.generation + 1
   where exists (select from due where due.mapping = any(w.mappings))
)
select mapping from due

-- Owes a sync to every destination for which something else than a change is due and that is owed
-- nothing: the retry of a mapping that failed or of quarantined rows, a resync that was asked for,
-- what an audit found and its tenant is not told yet. Quarantined rows of a mapping that is gone
-- are never retried, so they are no reason. Also owes one to destinations whose last success is
-- more than $1 bigint milliseconds ago: a quiet destination may be gone, or its table emptied, and only
-- a visit tells. A D1 database is visited six times more rarely, because each request there is one of
-- few. At most 100 of each sort: with a database of its own or a shared one, in D1 or elsewhere, of the
-- 1000 that are to be looked at first. The request of a visit, or of an untold audit, moves no cursor.
-- Returns how many. Afterwards postpone_visits.sql says when those are looked at again.
-- The poller calls it every few seconds, in a transaction of its own, under its lock. Its cost is
-- that of what is due, by one index each: destination_mapping_retry, quarantined_row_retry,
-- destination_visited, destination_mapping_untold.
with due as (
  select m.destination_id, true as retries
    from offtake.destination_mapping m
    join offtake.destination d on d.destination_id = m.destination_id and m.mapping = any(d.mappings)
   where m.retry_at <= now()
  union all
  select q.destination_id, true
    from offtake.quarantined_row q
    join offtake.destination d on d.destination_id = q.destination_id and q.mapping = any(d.mappings)
   where q.retry_at <= now()
  union all
  select q.destination_id, true
    from offtake.resync_request q
    join offtake.destination d on d.destination_id = q.destination_id and q.mapping = any(d.mappings)
  union all
  select destination_id, false from offtake.destination_mapping where audit_untold
  union all
  select v.destination_id, false
    from (values (false, false), (false, true), (true, false), (true, true)) visits (shared, rare)
   cross join lateral
         (select d.destination_id
            from (select *
                    from offtake.destination d
                   where d.shared = visits.shared and (d.kind = 'd1') = visits.rare and d.visit_at <= now()
                   order by d.visit_at limit 1000) d
           where d.active and d.refused is null
             and d.last_success_at < now() - case when visits.rare then 6 else 1 end * $1::bigint * interval '1 millisecond'
             and not exists (select from offtake.outgoing_request r where r.kind = 'sync' and r.destination_id = d.destination_id)
           limit 100) v
)
insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id)
select 'sync', d.destination_id,
       case when bool_or(due.retries) then (select sequence_id from offtake.log_head) else coalesce(d.sequence_id, 0) end
  from due
  join offtake.destination d using (destination_id)
 where d.active and d.refused is null
   and not exists (select from offtake.outgoing_request r where r.kind = 'sync' and r.destination_id = d.destination_id)
 group by d.destination_id
on conflict (destination_id) where kind = 'sync' do nothing

-- Says when the destinations that sweep_due.sql has looked at for a visit are looked at again: a visit's
-- interval behind their last success, or behind now where they are owed a sync, or get no visits. Those
-- that wait for a visit stay first. $1 bigint: milliseconds between two visits. Returns nothing.
-- A success does not write when the next look is, so that it changes no column of an index.
-- The poller calls it every few seconds, behind sweep_due.sql, in a transaction of its own: it waits for
-- nothing, and leaves out what others write to. Uses destination_visited.
with looked_at as materialized (
  select v.destination_id, v.until
    from (values (false, false), (false, true), (true, false), (true, true)) visits (shared, rare)
   cross join lateral
         (select d.destination_id,
                 case when not d.active or d.refused is not null or d.last_success_at is null
                        or exists (select from offtake.outgoing_request r where r.kind = 'sync' and r.destination_id = d.destination_id)
                      then now() else least(d.last_success_at, now()) end
                 + case when visits.rare then 6 else 1 end * $1::bigint * interval '1 millisecond' as until
            from (select *
                    from offtake.destination d
                   where d.shared = visits.shared and (d.kind = 'd1') = visits.rare and d.visit_at <= now()
                   order by d.visit_at limit 1000) d) v
), later as (
  select d.destination_id, looked_at.until
    from looked_at join offtake.destination d using (destination_id)
   where looked_at.until > now()
     for no key update of d skip locked
)
update offtake.destination d
   set visit_at = later.until
  from later
 where d.destination_id = later.destination_id

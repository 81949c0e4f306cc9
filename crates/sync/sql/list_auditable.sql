-- The destinations whose copies were audited the longest ago: of the first thousand copies at or
-- behind a position, at most a hundred that may be compared. $1 bigint: the period in milliseconds;
-- $2 text, $3 bigint: audited_at and destination of the position. The auditor claims one that its
-- daemon knows. Uses destination_mapping_audited, and reads no further than the hundredth. Each copy
-- is judged by itself (offset 0): a plan that judges all of them first takes seconds among a million.
select m.destination_id
  from (select destination_id, mapping, audited_at
          from offtake.destination_mapping
         where audited_at <= now() - $1::bigint * interval '1 millisecond'
           and (audited_at, destination_id) >= ($2::text::timestamptz, $3::bigint)
         order by audited_at, destination_id limit 1000) m
 cross join lateral (
   select from offtake.auditable_mapping
     left join offtake.audit a using (destination_id)
    where destination_id = m.destination_id and mapping = m.mapping
      and (a.leased_until is null or a.leased_until <= now()) and (a.not_before is null or a.not_before <= now())
   offset 0
 ) may_be_compared
 order by m.audited_at, m.destination_id limit 100

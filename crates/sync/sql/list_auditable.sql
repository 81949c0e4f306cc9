-- The destinations whose copies were audited the longest ago, the first hundred copies. $1 bigint: the
-- period in milliseconds. The auditor claims one that its daemon knows. Uses
-- destination_mapping_audited, up to the hundredth copy that may be compared.
select m.destination_id
  from offtake.auditable_mapping m
  left join offtake.audit a using (destination_id)
 where m.audited_at <= now() - $1::bigint * interval '1 millisecond'
   and (a.leased_until is null or a.leased_until <= now()) and (a.not_before is null or a.not_before <= now())
 order by m.audited_at, m.destination_id limit 100

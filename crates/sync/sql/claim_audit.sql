-- Claims the destination whose copies were audited the longest ago. $1 bigint[]: the destinations
-- that the daemon knows; $2 bigint: the period in milliseconds; $3 bigint: the lease in
-- milliseconds; $4 text: the process that claims. Returns no row where nothing is due. One daemon
-- at a time has a destination: of two that claim it together, the second waits for the first one's
-- row and then changes nothing. Uses destination_mapping_audited, up to the first copy that may be
-- compared.
with due as (
  select m.destination_id
    from offtake.auditable_mapping m
    left join offtake.audit a using (destination_id)
   where m.destination_id = any($1)
     and m.audited_at <= now() - $2::bigint * interval '1 millisecond'
     and (a.leased_until is null or a.leased_until <= now()) and (a.not_before is null or a.not_before <= now())
   order by m.audited_at, m.destination_id limit 1
)
insert into offtake.audit as a (destination_id, attempt, leased_until, leased_by)
select destination_id, 1, now() + $3::bigint * interval '1 millisecond', $4::text from due
on conflict (destination_id) do update
   set attempt = a.attempt + 1, leased_until = excluded.leased_until, leased_by = excluded.leased_by
 where (a.leased_until is null or a.leased_until <= now()) and a.not_before <= now()
returning destination_id, attempt, failures

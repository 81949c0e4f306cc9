-- One mapping of a destination failed by itself; the others go on. $1 request, $2 attempt, $3
-- mapping, $4 sqlstate or null, $5 error, $6 bigint milliseconds base and $7 bigint milliseconds
-- maximum of its own backoff. Returns when it is tried again, in milliseconds from now, and whether
-- it failed in another way, or not at all, before. Locks the destination before its mapping, as the
-- mirror and the registry do.
with mine as materialized (
  select d.destination_id
    from offtake.outgoing_request r join offtake.destination d using (destination_id)
   where r.request_id = $1 and r.attempt = $2
     for no key update of d
), before as (
  select m.error from offtake.destination_mapping m join mine using (destination_id) where m.mapping = $3
), failed as (
  insert into offtake.destination_mapping as m (destination_id, mapping, sequence_id, backfilled, error, sqlstate, failures, retry_at)
  select destination_id, $3, 0, false, $5, $4, 1, now() + $6::bigint * interval '1 millisecond' from mine
  on conflict (destination_id, mapping) do update
     set error = $5, sqlstate = $4, failures = m.failures + 1, updated_at = now(),
         retry_at = now() + least($7::bigint, $6::bigint * power(2, least(m.failures, 20))) * (0.5 + random() / 2) * interval '1 millisecond'
  returning retry_at, destination_id
), noted as (
  update offtake.destination d set state = 'blocked', reason = $3 || ': ' || $5, last_error = $3 || ': ' || $5, last_error_at = now()
    from failed where d.destination_id = failed.destination_id
)
select (extract(epoch from retry_at - now()) * 1000)::bigint as retry_ms,
       not exists (select from before where error = $5) as first
  from failed

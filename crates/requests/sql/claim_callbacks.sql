-- Claims due callbacks. $1 bigint: how many at most; $2 bigint: the lease in milliseconds; $3 text: the process that
-- claims. A callback whose process died is due when its lease has run out; its attempt may have arrived.
-- The webhooks engine calls it; a transaction of its own. Uses outgoing_callback_due; skips what another claim
-- holds; waits for nothing.
update offtake.outgoing_request r
   set attempt = r.attempt + 1, leased_until = now() + $2::bigint * interval '1 millisecond', leased_by = $3
 where r.request_id in (
   select d.request_id from offtake.outgoing_request d
    where d.kind = 'callback' and d.not_before <= now() and (d.leased_until is null or d.leased_until <= now())
    order by d.not_before
    limit $1
    for no key update skip locked)
returning r.request_id, r.attempt, r.job_id, r.failures, extract(epoch from now())::float8 as now

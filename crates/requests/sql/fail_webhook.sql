-- $1 request, $2 attempt: gives a webhook's request back after a failure, due again after $3 bigint
-- milliseconds. $4 what went wrong, $5 the reason shown with it, $6 int the answer's status or null,
-- $7 bigint milliseconds after which a failing webhook is disabled, or null: never; $8 boolean:
-- something was dialled, so that it counts as a failure; $9 boolean: something was acknowledged before
-- it failed, so that the failures in a row begin with this one. A webhook is disabled where nothing was
-- acknowledged for so long, at least ten turns failed, and the first of them was that long ago. It was
-- owed something all the time: its request stays while it fails. Returns the failures in a row, and
-- whether it is disabled now.
-- The webhooks engine calls it; a transaction of its own: the request and the status agree.
with failed as (
  update offtake.outgoing_request
     set leased_until = null, leased_by = null, last_error = $4,
         failures = case when $9::boolean then 1 else failures + 1 end,
         not_before = now() + $3::bigint * interval '1 millisecond'
   where request_id = $1 and attempt = $2
  returning webhook_id
), told as (
  update offtake.webhook w
     set consecutive_failures = w.consecutive_failures + $8::boolean::int,
         last_error = $4, last_error_at = now(), last_status = $6::int,
         failing_since = coalesce(w.failing_since, case when $8::boolean then now() end),
         state = 'blocked', reason = $5, updated_at = now(),
         disabled_at = case when gone.after then now() else w.disabled_at end,
         disabled_reason = case when gone.after
           then format('nothing was acknowledged since %s', to_char(w.failing_since at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
           else w.disabled_reason end
    from failed
    join offtake.webhook before using (webhook_id)
    cross join lateral (select before.consecutive_failures >= 9 and $8::boolean and before.disabled_at is null
                           and before.failing_since < now() - $7::bigint * interval '1 millisecond' as after) gone
   where w.webhook_id = failed.webhook_id
  returning w.consecutive_failures, coalesce(gone.after, false) as disabled
)
select consecutive_failures, disabled from told

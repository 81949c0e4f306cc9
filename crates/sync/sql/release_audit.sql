-- Gives a claimed destination back. $1 destination, $2 attempt, $3 bigint: it is not claimed again
-- for so many milliseconds, $4 boolean: the audit failed, so this pause doubles with each failure,
-- up to an hour.
update offtake.audit
   set leased_until = null, leased_by = null, failures = case when $4 then failures + 1 else 0 end,
       not_before = now() + least(interval '1 hour', $3::bigint * interval '1 millisecond' * case when $4 then 2 ^ least(failures, 12) else 1 end)
 where destination_id = $1 and attempt = $2

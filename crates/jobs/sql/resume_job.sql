-- Has a job go on that failed, was cancelled or pauses. $1 text: the kind; $2 text: its public id. No row: it
-- is in another state, or its files are being deleted. Where the tenant has another one that goes on, however it
-- is spelled there, job_running_export refuses it. The time that the job had ended is no part of the time since
-- started_at.
update offtake.job j
   set state = 'accepted', reason = null, cancel_requested_at = null, not_before = now(), failures = 0,
       started_at = j.started_at + coalesce(now() - j.finished_at, interval '0'),
       finished_at = null, expires_at = null, updated_at = now()
 where j.kind = $1 and j.public_id = $2 and j.state in ('failed', 'cancelled', 'paused')
   and (j.leased_until is null or j.leased_until <= now())
   and (j.expires_at is null or j.expires_at > now())
returning j.state

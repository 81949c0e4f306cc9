-- The job that a client asked for with this key within a day. $1 text: the key. Uses job_idempotency.
select public_id, request_sha256 from offtake.job
 where idempotency_key = $1 and created_at > now() - interval '24 hours'
 order by job_id desc limit 1

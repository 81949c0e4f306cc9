-- A job ($1 bigint) was complete before its process heard that it is to be cancelled: its file is deleted. In the
-- transaction of finish_job.sql. By primary key.
update offtake.job set expires_at = now()
 where job_id = $1 and cancel_requested_at is not null and state = 'completed'

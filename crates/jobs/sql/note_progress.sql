-- How far job $1 bigint is, while $2 bigint is still its attempt. $3 text: its state; $4 text: the mapping
-- that is read; $5 integer: the round; $6 bigint: the planner's estimate of all rows, or null: as it is; $7 text:
-- the epoch, or null: as it is; $8 text: why it pauses, or null; $9 boolean: a part was recorded, which ends a row of
-- failures. No row: it is another process's. Returns whether it is to be cancelled.
with done as (
  select coalesce(sum(rows), 0)::bigint as rows, coalesce(sum(bytes), 0)::bigint as bytes from offtake.job_chunk where job_id = $1
)
update offtake.job j
   set state = $3, mapping = $4, round = $5, rows_total = greatest(coalesce($6, j.rows_total), done.rows), epoch = coalesce($7, j.epoch),
       reason = $8, rows_done = done.rows, bytes_done = done.bytes,
       failures = case when $9 then 0 else j.failures end, updated_at = now(),
       percent = greatest(j.percent, least(99, floor(100.0 * done.rows / greatest(coalesce($6, j.rows_total), done.rows, 1))::integer))
  from done
 where j.job_id = $1 and j.attempt = $2 and j.leased_until is not null
returning j.cancel_requested_at is not null as cancelled, j.rows_done, j.rows_total, j.percent

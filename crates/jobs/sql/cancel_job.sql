-- Asks for the end of a job. $1 text: the kind; $2 text: its public id; $3 bigint: milliseconds until its
-- files are deleted, or null: never. A job that no process works on ends at once, and statements of a worker
-- that lost its lease change nothing. A process that works on a job ends it itself. No row: it does not go on.
-- Returns its state.
update offtake.job
   set cancel_requested_at = now(), updated_at = now(),
       state = case when leased_until > now() then state else 'cancelled' end,
       finished_at = case when leased_until > now() then finished_at else now() end,
       expires_at = case when leased_until > now() then expires_at else now() + $3::bigint * interval '1 millisecond' end,
       leased_by = case when leased_until > now() then leased_by end,
       leased_until = case when leased_until > now() then leased_until end
 where kind = $1 and public_id = $2 and state in ('accepted', 'processing', 'paused', 'settling')
returning job_id, state

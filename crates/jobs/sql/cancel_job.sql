-- Asks for the end of a job. $1 text: the kind; $2 text: its public id. One that no process works on ends at once; the
-- others are ended by their process. No row: it does not go on. Returns its state.
update offtake.job
   set cancel_requested_at = now(), updated_at = now(),
       state = case when leased_until is null or leased_until <= now() then 'cancelled' else state end,
       finished_at = case when leased_until is null or leased_until <= now() then now() end
 where kind = $1 and public_id = $2 and state in ('accepted', 'processing', 'paused', 'settling')
returning state

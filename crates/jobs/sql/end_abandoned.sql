-- Ends jobs of commands that are to be cancelled and whose process died: no daemon claims a job without a store.
-- $1 text: the kind. In a transaction with owe_callback.sql. Uses job_due.
update offtake.job
   set state = 'cancelled', finished_at = now(), leased_until = null, leased_by = null, updated_at = now()
 where kind = $1 and store is null and cancel_requested_at is not null and leased_until <= now()
   and state in ('accepted', 'processing', 'paused', 'settling')
returning job_id

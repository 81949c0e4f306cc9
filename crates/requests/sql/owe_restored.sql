-- A restore is about to commit at a destination ($1 bigint), whose cursors it sets back: owes the
-- destination a sync up to the newest change, due now. A worker that has the request loses it here,
-- also one that goes on after its lease has ended. What it would report of the destination is no
-- longer true, and it must not take up what was restored.
-- The command calls it while the destination is paused; a transaction of its own.
insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
select 'sync', destination_id, (select sequence_id from offtake.log_head)
  from offtake.destination where destination_id = $1 and active
on conflict (destination_id) where kind = 'sync' do update
   set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id), not_before = now(),
       attempt = r.attempt + 1, leased_until = null, leased_by = null

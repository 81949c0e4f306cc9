-- Owes destinations a sync that is due at once, backoff or not. $1 bigint[] destinations. Returns the sequence id wanted.
insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
select 'sync', d.destination_id,
       greatest((select max(sequence_id) from offtake.change_log), (select sequence_id from offtake.poller_position), 0)
  from offtake.destination d where d.destination_id = any($1) and d.active and d.refused is null
on conflict (destination_id) where kind = 'sync' do update
   set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id), not_before = now()
returning destination_id, wanted_sequence_id

-- Owes destinations a sync that is due now, backoff or not. $1 bigint[] destinations, $2 the sequence id to reach. Takes the row
-- lock of each request; a lease in progress stays as it is.
insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
select 'sync', destination_id, $2 from unnest($1::bigint[]) destination_id
on conflict (destination_id) where kind = 'sync' do update
   set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id), not_before = now()

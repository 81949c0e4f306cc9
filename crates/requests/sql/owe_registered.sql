-- The registry has new, moved or changed destinations ($1 bigint[]): owes each of them a sync that
-- is due now, also where the destination is in backoff or a mapping waits for its own retry. A
-- request that is leased, or whose lease ran out, keeps its not_before: the worker of such a lease
-- may have died of this destination, every daemon calls this at its start, and so one daemon after
-- the other would die of it. Returns the destinations and the sequence ids wanted.
-- The sync engine's registry calls it in the transaction that registers them.
with again as (
  update offtake.destination_mapping set retry_at = null where destination_id = any($1) and retry_at > now()
)
insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
select 'sync', d.destination_id,
       (select sequence_id from offtake.log_head)
  from offtake.destination d where d.destination_id = any($1) and d.active and d.refused is null
on conflict (destination_id) where kind = 'sync' do update
   set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id),
       not_before = case when r.leased_until is null then now() else r.not_before end
returning destination_id, wanted_sequence_id

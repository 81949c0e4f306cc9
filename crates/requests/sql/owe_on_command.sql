-- An operator asks for a sync: owes destinations ($1 bigint[]) one up to the newest change. It is
-- due now, also where the destination is in backoff or a mapping waits for its own retry. Those
-- that nothing names any more, or that are being forgotten, are owed none: no worker would claim
-- it. Returns that change's sequence id. The admin side calls it; a transaction of its own.
with head as (
  select sequence_id as head from offtake.log_head
), asked as (
  select destination_id from offtake.destination where destination_id = any($1) and active
), again as (
  update offtake.destination_mapping m set retry_at = null from asked a
   where m.destination_id = a.destination_id and m.retry_at > now()
), owed as (
  insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
  select 'sync', destination_id, head from head, asked order by destination_id
  on conflict (destination_id) where kind = 'sync' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id), not_before = now()
)
select head from head

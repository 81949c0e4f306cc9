-- Owes destinations a sync that is due at once, backoff or not, also that of a mapping which failed
-- by itself; but where a worker died with its claim, only when that says so: every daemon asks for
-- this at its start. $1 bigint[] destinations. Returns the sequence id wanted.
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

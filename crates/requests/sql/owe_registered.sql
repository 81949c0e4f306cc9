-- The registry has new, moved or changed destinations ($1 bigint[]): owes each of them a sync that
-- is due now, also where the destination is in backoff or a mapping waits for its own retry. A
-- request that is leased, or whose lease ran out, keeps its not_before: the worker of such a lease
-- may have died of this destination, every daemon calls this at its start, and so one daemon after
-- the other would die of it. Returns the destinations and the sequence ids wanted.
-- Every daemon calls it at its start for every destination, and the worker of any request reads up
-- to the log's end. So while the poller's fuse is blown nothing is owed. The mappings' retry is due
-- instead, and the poller's sweep owes the syncs once the fuse is whole again.
-- The sync engine's registry calls it in the transaction that registers them.
with stopped as (
  select exists (select from offtake.fuse where name = 'poller' and not enabled and (until is null or until > now())) as stopped
), again as (
  update offtake.destination_mapping set retry_at = case when stopped then now() end
    from stopped where destination_id = any($1) and (stopped or retry_at > now())
)
insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
select 'sync', d.destination_id,
       (select sequence_id from offtake.log_head)
  from (select distinct unnest($1::bigint[]) as destination_id order by 1) given cross join stopped cross join lateral
       (select d.destination_id from offtake.destination d
         where d.destination_id = given.destination_id and d.active and d.refused is null and not stopped offset 0) d
 order by d.destination_id
on conflict (destination_id) where kind = 'sync' do update
   set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id),
       not_before = case when r.leased_until is null then now() else r.not_before end
returning destination_id, wanted_sequence_id

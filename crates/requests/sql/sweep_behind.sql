-- Owes a sync to every destination that is behind and is owed nothing: a mapping that was never
-- mirrored, a cursor below a change of its tenant, quarantined rows or a failed mapping whose retry
-- is due, a resync that was asked for. So a lost request cannot stay lost. Quarantined rows of a
-- mapping that is gone are never retried, so they are no reason. Also owes one to
-- destinations whose last success is more than $1 bigint milliseconds ago, at most 100 of them: a
-- quiet destination may be gone, or its table emptied, and only a visit tells. And to those that do
-- not tell their tenant yet what an audit found; such a sync moves no cursor.
-- The changes without tenant of a table in fan_out are left out: their destinations are being told.
-- The poller calls it every few seconds, in a transaction of its own, under its lock. Probes
-- change_log_tenant once per destination and source table.
with behind as (
  select d.destination_id,
         (select sequence_id from offtake.log_head) as head
    from offtake.destination d
   where d.active and d.refused is null
     and not exists (select from offtake.outgoing_request r where r.kind = 'sync' and r.destination_id = d.destination_id)
     and (
       exists (select from unnest(d.mappings) m (name)
                left join offtake.destination_mapping s on s.destination_id = d.destination_id and s.mapping = m.name
               where s.mapping is null or not s.backfilled or s.retry_at <= now())
       or exists (select from offtake.quarantined_row q
                   where q.destination_id = d.destination_id and q.mapping = any(d.mappings) and q.retry_at <= now())
       or exists (select from offtake.resync_request q where q.destination_id = d.destination_id and q.mapping = any(d.mappings))
       or exists (select from unnest(d.source_tables) t (name)
                   where exists (select from offtake.change_log l
                                  where l.tenant_id = coalesce(d.source_tenant_id, d.tenant_id) and l.source_table = t.name and l.sequence_id > d.sequence_id
                                    and l.sequence_id <= (select sequence_id from offtake.poller_position))
                      or (not exists (select from offtake.fan_out f where f.source_table = t.name)
                          and exists (select from offtake.change_log l
                                       where l.tenant_id is null and l.source_table = t.name and l.sequence_id > d.sequence_id
                                         and l.sequence_id <= (select sequence_id from offtake.poller_position))))
     )
)
insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id)
select 'sync', destination_id, head from behind
union
(select 'sync', d.destination_id, coalesce(d.sequence_id, 0) from offtake.destination d
  where d.active and d.refused is null and d.last_success_at < now() - $1::bigint * interval '1 millisecond'
    and not exists (select from offtake.outgoing_request r where r.kind = 'sync' and r.destination_id = d.destination_id)
  order by d.last_success_at limit 100)
union
select 'sync', d.destination_id, coalesce(d.sequence_id, 0) from offtake.destination d
 where d.active and d.refused is null
   and d.destination_id in (select m.destination_id from offtake.destination_mapping m where m.audit_untold)
   and not exists (select from offtake.outgoing_request r where r.kind = 'sync' and r.destination_id = d.destination_id)
on conflict (destination_id) where kind = 'sync' do nothing

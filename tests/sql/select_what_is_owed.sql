-- Reasons why tenants are not in step, one per row; no rows if every committed change is applied.
-- One statement has one snapshot, so a change that moves from one loop to the next is always seen.
-- The caller appends the list of tenant ids.
with known as (
  select d.destination_id, d.tenant_id, d.name, d.mappings, d.state, d.reason, d.last_error from offtake.destination d where d.active
), owed as (
  select null::text as tenant_id, format('%s captured changes are not sequenced', count(*)) as what
    from offtake.captured_change having count(*) > 0
  union all
  select null, format('the poller is at %s, the log at %s', p.sequence_id, l.sequence_id)
    from offtake.poller_position p, (select coalesce(max(sequence_id), 0) as sequence_id from offtake.change_log) l
   where p.sequence_id < l.sequence_id
  union all
  select null, format('not every destination is told of changes of %s', source_table) from offtake.fan_out
  union all
  select k.tenant_id, format('%s/%s is owed a sync up to %s (%s failures: %s)', k.tenant_id, k.name, r.wanted_sequence_id, r.failures,
                             coalesce(r.last_error, k.last_error, k.reason, 'no error'))
    from offtake.outgoing_request r join known k using (destination_id)
   where r.kind = 'sync'
  union all
  select m.tenant_id, format('%s/%s: %s is at %s, not backfilled (%s)', m.tenant_id, m.name, d.mapping, d.sequence_id, coalesce(d.error, 'no error'))
    from known m join offtake.destination_mapping d using (destination_id)
   where not d.backfilled
  union all
  select k.tenant_id, format('%s/%s: %s waits to be re-copied', k.tenant_id, k.name, q.mapping)
    from offtake.resync_request q join known k using (destination_id)
   where q.mapping = any (k.mappings)
)
select what from owed
 where tenant_id is null or tenant_id in

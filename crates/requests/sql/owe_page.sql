-- One poll: reads at most $1 bigint changes of the log beyond the poller's position, owes a sync to
-- each destination and events to each webhook that they concern, and moves the position. Returns how
-- many changes it read, how many destinations it owed a sync, how many of these no worker has
-- claimed, how many webhooks it owed events, whether the position moved, and whether there are changes whose
-- destinations and webhooks are to be told by owe_fanned_out.sql.
-- The poller calls it in its transaction, under its lock. It is sent before the poller knows whether
-- it holds the lock, and reads nothing unless try_lock.sql noted that. Requests and position are one
-- statement, so that no crash comes between them: otherwise the changes of the page would be lost.
-- A change without tenant concerns every destination and webhook that has a mapping on its table: it
-- is noted in fan_out, so that thousands are told page by page. A destination or webhook in backoff
-- (failures > 0) keeps its not_before: new changes do not hurry one that is down. A disabled webhook
-- is owed its events too; nothing claims them before it is enabled.
-- The position has the newest change of each table that concerned a destination, for the status.
with page as materialized (
  select sequence_id, tenant_id, source_table
    from offtake.change_log
   where sequence_id > (select sequence_id from offtake.poller_position)
     and current_setting('offtake.lock', true) = 'held'
   order by sequence_id limit $1
), news as materialized (
  select tenant_id, source_table, max(sequence_id) as sequence_id from page group by tenant_id, source_table
), concerned as materialized (
  select d.destination_id, n.source_table, n.sequence_id
    from news n join offtake.destination d on coalesce(d.source_tenant_id, d.tenant_id) = n.tenant_id and n.source_table = any(d.source_tables)
   where d.active and d.refused is null
), owed as (
  insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
  select 'sync', destination_id, max(sequence_id) from concerned group by destination_id order by destination_id
  on conflict (destination_id) where kind = 'sync' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id),
         not_before = case when r.failures = 0 and r.leased_until is null then least(r.not_before, now()) else r.not_before end
  returning r.leased_until is null or r.leased_until <= now() as claimable
), concerned_webhooks as materialized (
  -- By index for each tenant of the page, whatever the planner takes the number of webhooks for.
  select w.webhook_id, max(n.sequence_id) as sequence_id
    from news n
   cross join lateral (select w.webhook_id from offtake.webhook w
                        where coalesce(w.source_tenant_id, w.tenant_id) = n.tenant_id and n.source_table = any(w.source_tables)
                          and w.active and w.refused is null
                       offset 0) w
   group by w.webhook_id
), owed_webhooks as (
  insert into offtake.outgoing_request as r (kind, webhook_id, wanted_sequence_id)
  select 'webhook', webhook_id, sequence_id from concerned_webhooks order by webhook_id
  on conflict (webhook_id) where kind = 'webhook' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id),
         not_before = case when r.failures = 0 and r.leased_until is null then least(r.not_before, now()) else r.not_before end
  returning 1
), fanned_out as (
  insert into offtake.fan_out as f (source_table, sequence_id)
  select source_table, sequence_id from news where tenant_id is null order by source_table
  on conflict (source_table) do update set next_sequence_id = greatest(f.next_sequence_id, excluded.sequence_id)
  returning 1
), moved as (
  update offtake.poller_position
     set sequence_id = (select max(sequence_id) from page), updated_at = now(),
         newest = newest || coalesce((select jsonb_object_agg(source_table, sequence_id)
                                        from (select source_table, max(sequence_id) as sequence_id
                                                from (select source_table, sequence_id from concerned
                                                       union all
                                                      select source_table, sequence_id from news where tenant_id is null) c
                                               group by source_table) t), '{}')
   where exists (select from page)
  returning 1
)
select (select count(*) from page) as changes, (select count(*) from owed) as owed,
       (select count(*) from owed where claimable) as claimable,
       (select count(*) from owed_webhooks) as owed_webhooks, (select count(*) from moved) as moved,
       exists (select from fanned_out) or exists (select from offtake.fan_out) as fanning_out

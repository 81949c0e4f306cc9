-- The parts of the status that are single values. Counts of captured changes and quarantined rows
-- stop at 100 001 rows, so that a large backlog does not make the status slow. Quarantined rows of a
-- destination or a mapping that is gone do not count: nothing receives them any more, and no
-- destination is degraded by them. The oldest pending change is found through captured_change's
-- primary key; the changes that the poller has not seen through the log's, up to 100 001. Ages are differences of numbers, because an infinite time has none of its own. No
-- parameters.
select (select epoch_id::text from offtake.epoch order by started_at desc limit 1) as epoch,
       (select coalesce(sum(coalesce(key_count, 1)), 0)::bigint
          from (select key_count from offtake.captured_change limit 100001) c) as pending_changes,
       (select (extract(epoch from clock_timestamp()) - extract(epoch from captured_at))::float8
          from offtake.captured_change order by capture_id limit 1) as oldest_pending_seconds,
       (select case when is_called then last_value else 0 end from offtake.global_sequence) as last_sequence_id,
       (select count(*)
          from (select from offtake.change_log
                 where sequence_id > (select sequence_id from offtake.poller_position) order by sequence_id limit 100001) l) as unpolled_changes,
       (select (extract(epoch from clock_timestamp()) - extract(epoch from sequenced_at))::float8
          from offtake.change_log
         where sequence_id > (select sequence_id from offtake.poller_position) order by sequence_id limit 1) as oldest_unpolled_seconds,
       r.owed, r.owed_webhooks, r.due, r.failing, r.in_flight, r.expired_leases, r.oldest_owed_seconds,
       (select count(*)
          from (select from offtake.quarantined_row q join offtake.destination d using (destination_id)
                 where d.active and (q.mapping = any(d.mappings)
                       or exists (select from offtake.waiting_mapping w
                                   where w.destination_id = d.destination_id and w.mapping = q.mapping))
                 limit 100001) q) as quarantined_rows,
       (select count(*)
          from (select from offtake.quarantined_event q join offtake.webhook w using (webhook_id)
                 where w.active and q.mapping = any(w.mappings)
                 limit 100001) q) as quarantined_events,
       (select coalesce(sum(delivered), 0)::bigint from offtake.webhook) as events_delivered
  from (select count(*) filter (where kind = 'sync') as owed,
               count(*) filter (where kind = 'webhook') as owed_webhooks,
               count(*) filter (where not_before <= now() and (leased_until is null or leased_until <= now())) as due,
               count(*) filter (where failures > 0) as failing,
               count(*) filter (where leased_until > now()) as in_flight,
               count(*) filter (where leased_until <= now()) as expired_leases,
               (extract(epoch from now()) - extract(epoch from min(owed_since)))::float8 as oldest_owed_seconds
          from offtake.outgoing_request) r

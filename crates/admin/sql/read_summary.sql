-- The parts of the status that are single values. The count of captured changes stops at 100 001, so
-- that a large backlog does not make the status slow; that of quarantined rows is told so too. Their
-- destinations are looked up once for each mapping, through the primary key. Quarantined rows of a
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
       (select least(coalesce(sum(coalesce(key_count, 1)), 0), 100001)::bigint
          from (select key_count from offtake.change_log
                 where sequence_id > (select sequence_id from offtake.poller_position)
                     and sequence_id < (select sequence_id + 1000000000000 from offtake.poller_position) order by sequence_id limit 100001) l) as unpolled_changes,
       (select (extract(epoch from clock_timestamp()) - extract(epoch from sequenced_at))::float8
          from offtake.change_log
         where sequence_id > (select sequence_id from offtake.poller_position)
                     and sequence_id < (select sequence_id + 1000000000000 from offtake.poller_position) order by sequence_id limit 1) as oldest_unpolled_seconds,
       r.owed, r.owed_webhooks, r.due, r.failing, r.in_flight, r.expired_leases, r.oldest_owed_seconds,
       (select least(coalesce(sum(q.rows), 0), 100001)::bigint
          from (select destination_id, mapping, count(*) as rows from offtake.quarantined_row group by destination_id, mapping) q
         cross join lateral (
               select from offtake.destination d
                where d.destination_id = q.destination_id and d.active
                  and (q.mapping = any(d.mappings)
                       or exists (select from offtake.waiting_mapping w
                                   where w.destination_id = d.destination_id and w.mapping = q.mapping))
                offset 0) d) as quarantined_rows,
       (select least(coalesce(sum(q.events), 0), 100001)::bigint
          from (select webhook_id, mapping, count(*) as events from offtake.quarantined_event group by webhook_id, mapping) q
         cross join lateral (
               select from offtake.webhook w
                where w.webhook_id = q.webhook_id and w.active and q.mapping = any(w.mappings)
                offset 0) w) as quarantined_events,
       (select coalesce(sum(delivered), 0)::bigint from offtake.webhook) as events_delivered
  from (select count(*) filter (where kind = 'sync') as owed,
               count(*) filter (where kind = 'webhook') as owed_webhooks,
               count(*) filter (where not_before <= now() and (leased_until is null or leased_until <= now())) as due,
               count(*) filter (where failures > 0) as failing,
               count(*) filter (where leased_until > now()) as in_flight,
               count(*) filter (where leased_until <= now()) as expired_leases,
               (extract(epoch from now()) - extract(epoch from min(owed_since)))::float8 as oldest_owed_seconds
          from offtake.outgoing_request) r

-- Owes a sync to the next destinations, and events to the next webhooks, that a change without
-- tenant concerns: of the oldest such change, in the order of their ids, so many that at most $1
-- bigint requests of each kind wait to be claimed because of such changes. The others are told by a
-- later poll. So a change for ten thousand destinations puts no more than $1 requests in front of
-- another tenant's.
-- Returns how many destinations were owed a sync, how many webhooks events, and whether any fan-out
-- is left.
-- A request counts as waiting for ten seconds. After that something else keeps it (a pause, a fuse,
-- no worker at all), and the other destinations must not wait for that.
-- A destination or webhook whose cursor has reached the change already is passed over. One in backoff
-- keeps its not_before, as in owe_page.sql.
-- The poller calls it in its transaction, under its lock, after owe_page.sql, whose fan-outs it
-- must see. Requests and fan-out are one statement, so that no crash comes between them.
with room as materialized (
  select greatest($1::bigint - (select count(*) from offtake.outgoing_request
                                 where kind = 'sync' and fanned_out and leased_until is null
                                   and not_before between now() - interval '10 s' and now()), 0) as rows,
         greatest($1::bigint - (select count(*) from offtake.outgoing_request
                                 where kind = 'webhook' and fanned_out and leased_until is null
                                   and not_before between now() - interval '10 s' and now()), 0) as webhooks
), pass as materialized (
  select source_table, destination_id, webhook_id, greatest(sequence_id, next_sequence_id) as sequence_id
    from offtake.fan_out order by sequence_id, source_table limit 1
), told as materialized (
  select d.destination_id, d.sequence_id as reached, pass.sequence_id
    from pass join offtake.destination d on d.destination_id > pass.destination_id and pass.source_table = any(d.source_tables)
   where d.active and d.refused is null
   order by d.destination_id
   limit (select rows from room)
), owed as (
  insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id, fanned_out)
  select 'sync', destination_id, sequence_id, true from told
   where reached is null or reached < sequence_id
   order by destination_id
  on conflict (destination_id) where kind = 'sync' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id),
         not_before = case when r.failures = 0 and r.leased_until is null then least(r.not_before, now()) else r.not_before end
  returning 1
), told_webhooks as materialized (
  select w.webhook_id, w.sequence_id as reached, pass.sequence_id
    from pass join offtake.webhook w on w.webhook_id > pass.webhook_id and pass.source_table = any(w.source_tables)
   where w.active and w.refused is null
   order by w.webhook_id
   limit (select webhooks from room)
), owed_webhooks as (
  insert into offtake.outgoing_request as r (kind, webhook_id, wanted_sequence_id, fanned_out)
  select 'webhook', webhook_id, sequence_id, true from told_webhooks
   where reached is null or reached < sequence_id
   order by webhook_id
  on conflict (webhook_id) where kind = 'webhook' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id),
         not_before = case when r.failures = 0 and r.leased_until is null then least(r.not_before, now()) else r.not_before end
  returning 1
), told_all as (
  select (select count(*) from told) < (select rows from room)
         and (select count(*) from told_webhooks) < (select webhooks from room) as done
), advanced as (
  update offtake.fan_out f
     set destination_id = case when told_all.done then 0 else coalesce((select max(destination_id) from told), f.destination_id) end,
         webhook_id = case when told_all.done then 0 else coalesce((select max(webhook_id) from told_webhooks), f.webhook_id) end,
         sequence_id = case when told_all.done then f.next_sequence_id else f.sequence_id end,
         next_sequence_id = case when told_all.done then null else f.next_sequence_id end
    from pass, told_all
   where f.source_table = pass.source_table and (not told_all.done or f.next_sequence_id is not null)
), ended as (
  delete from offtake.fan_out f using pass, told_all
   where f.source_table = pass.source_table and told_all.done and f.next_sequence_id is null
  returning 1
)
select (select count(*) from owed) as owed, (select count(*) from owed_webhooks) as owed_webhooks,
       (select count(*) from offtake.fan_out) > (select count(*) from ended) as fanning_out

-- May partition {partition}, which ends before sequence id $1, be dropped? $2 bigint milliseconds
-- of retention. expired: its last change is older than retention. overdue: older than twice that,
-- so that a destination that is down, or a webhook that is disabled, cannot hold the log for ever.
-- behind: active destinations and webhooks whose cursor is still inside the partition; each is owed a
-- sync, or events, that move it on, unless the poller's fuse is blown.
-- The sequencer calls it for one partition after the other, outside its lock; a transaction of its
-- own.
with last as (
  select sequenced_at from offtake.change_log_{partition} order by sequence_id desc limit 1
), age as (
  select not exists (select from last where sequenced_at >= now() - $2::bigint * interval '1 millisecond') as expired,
         not exists (select from last where sequenced_at >= now() - 2 * $2::bigint * interval '1 millisecond') as overdue
), behind as (
  select destination_id from offtake.destination
   where active and refused is null and coalesce(sequence_id, 0) < $1 and (select expired from age)
), webhooks_behind as (
  select webhook_id from offtake.webhook
   where active and refused is null and sequence_id < $1 and (select expired from age)
), owed as (
  insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id)
  select 'sync', destination_id, $1 from behind
   where not exists (select from offtake.fuse where name = 'poller' and not enabled and (until is null or until > now()))
   order by destination_id
  on conflict (destination_id) where kind = 'sync' do update
     set wanted_sequence_id = greatest(outgoing_request.wanted_sequence_id, excluded.wanted_sequence_id)
), owed_webhooks as (
  insert into offtake.outgoing_request (kind, webhook_id, wanted_sequence_id)
  select 'webhook', webhook_id, $1 from webhooks_behind
   where not exists (select from offtake.fuse where name = 'poller' and not enabled and (until is null or until > now()))
   order by webhook_id
  on conflict (webhook_id) where kind = 'webhook' do update
     set wanted_sequence_id = greatest(outgoing_request.wanted_sequence_id, excluded.wanted_sequence_id)
)
select expired, overdue, (select count(*) from behind) + (select count(*) from webhooks_behind) as behind from age

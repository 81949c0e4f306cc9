-- Begins a new epoch if this server, or the timeline of its log, is not the one of the latest
-- epoch: the source was restored or failed over, and commits that destinations have seen may be
-- gone. Every destination is then owed a sync, which copies everything again, in place, and every
-- webhook events, of which the first are resyncs. While the poller's fuse is blown, the mappings'
-- retry is due instead: see owe_registered.sql. Returns the new epoch's reason, or no row.
-- The sequencer calls it in its transaction, under its lock: of two daemons, one begins the epoch.
-- Nearly always none begins. Destinations and webhooks are looked at from the epoch that begins: beside
-- it, the planner read all of them by index, in the order in which they would be owed.
with latest as (
  select system_identifier, timeline from offtake.epoch order by started_at desc limit 1
), begun as (
  insert into offtake.epoch (reason)
  select case when l.system_identifier <> (pg_control_system()).system_identifier::text
              then 'the source is on another server than before'
              else 'the source was restored, or a standby was promoted (timeline ' || l.timeline || ' before)' end
    from latest l
   where (l.system_identifier, l.timeline)
         is distinct from ((pg_control_system()).system_identifier::text, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))
  returning reason
), stopped as (
  select exists (select from offtake.fuse where name = 'poller' and not enabled and (until is null or until > now())) as stopped
), later as (
  update offtake.destination_mapping set retry_at = now() from begun, stopped where stopped
), webhooks_later as (
  update offtake.webhook_mapping set retry_at = now() from begun, stopped where stopped
), owed as (
  insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id)
  select 'sync', d.destination_id, (select sequence_id from offtake.poller_position)
    from begun
   cross join stopped
   cross join lateral
         (select destination_id
            from offtake.destination
           where active and refused is null and begun.reason is not null and not stopped.stopped
           order by destination_id) d
  on conflict (destination_id) where kind = 'sync' do nothing
), owed_webhooks as (
  insert into offtake.outgoing_request (kind, webhook_id, wanted_sequence_id)
  select 'webhook', w.webhook_id, (select sequence_id from offtake.poller_position)
    from begun
   cross join stopped
   cross join lateral
         (select webhook_id
            from offtake.webhook
           where active and refused is null and begun.reason is not null and not stopped.stopped
           order by webhook_id) w
  on conflict (webhook_id) where kind = 'webhook' do nothing
)
select reason from begun

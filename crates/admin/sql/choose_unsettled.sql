-- Every active destination that may be in another state than those that nothing is known of: all
-- that judgement.rs looks at, found by the indexes of what is unsettled. Part of
-- list_destinations.sql; no parameters.
-- What concerns all destinations with a mapping (a fuse, changes without tenant that are not
-- numbered yet) is no reason here: it is told of those that are only counted, too.
-- A change that the poller has seen is owed to each destination that it concerns, or its table is
-- in fan_out; so only those that the poller has not seen are read here, up to 100 001. Where these
-- are not all, or one concerns every tenant, list_unsettled.sql says so.
-- The planner must take the result for some hundred rows: it then looks destinations up by key, and
-- joins what was found by hashes. Hence the arrays and the grouping where it would guess many.
with tenants as materialized (
  select tenant_id
    from (select tenant_id
            from (select tenant_id from offtake.change_log
                   where sequence_id > (select sequence_id from offtake.poller_position)
                     and sequence_id < (select sequence_id + 1000000000000 from offtake.poller_position) order by sequence_id limit 100001) l
           union all
          select tenant_id from (select tenant_id from offtake.captured_change limit 100001) c) t
   group by tenant_id
), blown as materialized (
  select name from offtake.fuse where not enabled and (until is null or until > now())
), unsettled (destination_id) as (
  select destination_id from offtake.destination
   where active and (state <> 'in_sync' or refused is not null or consecutive_failures > 0 or paused_at is not null)
   union
  select destination_id from offtake.outgoing_request where kind = 'sync'
   union
  select destination_id from offtake.destination_mapping where not backfilled or error is not null or failures > 0 or differences > 0
   union
  select destination_id from offtake.resync_request
   union
  select destination_id from offtake.waiting_mapping
   union
  select destination_id from offtake.quarantined_row
   union
  select d.destination_id
    from tenants t
   cross join lateral (
         select destination_id from offtake.destination where coalesce(source_tenant_id, tenant_id) = t.tenant_id offset 0) d
   union
  select unnest(array(
         select d.destination_id from blown f join offtake.destination d on d.tenant_id = substr(f.name, length('tenant:') + 1)
          where f.name like 'tenant:%'))
   union
  -- A tenant's id may have a slash in it, and so may a destination's name.
  select unnest(array(
         select d.destination_id
           from blown f
          cross join lateral generate_series(length('destination:') + 1, length(f.name)) slash
           join offtake.destination d on d.tenant_id = substr(f.name, 13, slash - 13) and d.name = substr(f.name, slash + 1)
          where f.name like 'destination:%' and substr(f.name, slash, 1) = '/'))
   union
  -- Read only while such a change is being told.
  select unnest(array(
         select d.destination_id
           from offtake.fan_out f
          cross join lateral (
                select destination_id from offtake.destination
                 where f.source_table = any(source_tables) and coalesce(sequence_id, 0) < greatest(f.sequence_id, f.next_sequence_id)
                offset 0) d))
)
select d.*
  from unsettled u
 cross join lateral (select * from offtake.destination where destination_id = u.destination_id and active offset 0) d

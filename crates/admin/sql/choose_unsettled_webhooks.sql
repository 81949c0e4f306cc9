-- Every active webhook that may be in another state than in_sync: all that judgement.rs looks at, found
-- by the indexes of what is unsettled. Part of list_webhooks.sql; no parameters.
-- A change that the poller has seen is owed to each webhook that it concerns, so only those that it has
-- not seen are read here, up to 10 001. Where one concerns every tenant, where there are more, and
-- where a fuse stops all webhooks or a mapping, every webhook is one of them.
-- The planner must take the result for some hundred rows: it then looks webhooks up by key. Hence the
-- arrays and the grouping where it would guess many.
with unpolled as materialized (
  select distinct case when l.more then null else l.tenant_id end as tenant_id
    from (select tenant_id, count(*) over () > 10000 as more
            from (select tenant_id from offtake.change_log
                   where sequence_id > (select sequence_id from offtake.poller_position)
                     and sequence_id < (select sequence_id + 1000000000000 from offtake.poller_position) order by sequence_id limit 10001) l) l
), unnumbered as materialized (
  select tenant_id, count(*) as captures from (select tenant_id from offtake.captured_change limit 100001) c group by tenant_id
), tenants as materialized (
  select tenant_id from unpolled
   union
  select tenant_id from unnumbered
), blown as materialized (
  select name from offtake.fuse where not enabled and (until is null or until > now())
), everyone as materialized (
  select exists (select from tenants where tenant_id is null)
      or exists (select from offtake.fan_out)
      or exists (select from blown where name = 'webhooks' or name like 'mapping:%')
      or coalesce((select sum(captures) from unnumbered), 0) > 100000 as doubted
), unsettled (webhook_id) as (
  select webhook_id from offtake.webhook
   where active and (state <> 'in_sync' or refused is not null or incomplete is not null or disabled_at is not null or paused_at is not null
                     or consecutive_failures > 0)
   union
  select webhook_id from offtake.outgoing_request where kind = 'webhook'
   union
  select webhook_id from offtake.quarantined_event
   union
  select webhook_id from offtake.webhook_mapping where resync_reason is not null or not backfilled
   union
  select webhook_id from offtake.webhook_mapping where error is not null or failures > 0
   union
  select w.webhook_id
    from tenants t
   cross join lateral (
         select webhook_id from offtake.webhook where coalesce(source_tenant_id, tenant_id) = t.tenant_id offset 0) w
   union
  select unnest(array(
         select w.webhook_id from blown f join offtake.webhook w on w.tenant_id = substr(f.name, length('tenant:') + 1)
          where f.name like 'tenant:%'))
   union
  -- A tenant's id may have a slash in it, and so may a webhook's name.
  select unnest(array(
         select w.webhook_id
           from blown f
          cross join lateral generate_series(length('webhook:') + 1, length(f.name)) slash
           join offtake.webhook w on w.tenant_id = substr(f.name, 9, slash - 9) and w.name = substr(f.name, slash + 1)
          where f.name like 'webhook:%' and substr(f.name, slash, 1) = '/'))
   union
  select webhook_id from offtake.webhook where (select doubted from everyone)
)
select w.*
  from unsettled u
 cross join lateral (select * from offtake.webhook where webhook_id = u.webhook_id and active offset 0) w

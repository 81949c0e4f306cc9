-- Keeps the schedule of snapshots as the registry has its tenants. $1 bigint: the interval in microseconds.
-- A tenant's intervals begin at a place that a hash of its id gives, so that those of many tenants are
-- spread. A new tenant's first one is the next that begins. An interval that was made shorter counts at
-- once; one that is due stays due. Returns how many tenants there are. Reads all of destination and
-- webhook, four times a minute; a transaction of its own.
with tenant as (
  select distinct on (at_source) at_source, tenant_id,
         (hashtextextended(at_source, 0) & 9223372036854775807) % $1::bigint as place,
         (extract(epoch from now()) * 1000000)::bigint as at
    from (select coalesce(source_tenant_id, tenant_id) as at_source, tenant_id from offtake.destination where active
           union all
          select coalesce(source_tenant_id, tenant_id), tenant_id from offtake.webhook where active) registered
   order by at_source, tenant_id
), gone as (
  delete from offtake.snapshot_schedule s
   where not exists (select from tenant t where t.at_source = s.tenant_at_source)
), taken_up as (
  insert into offtake.snapshot_schedule as s (tenant_at_source, tenant_id, next_at)
  select at_source, tenant_id, timestamptz 'epoch' + (at - (at - place) % $1::bigint + $1::bigint) * interval '1 microsecond'
    from tenant
  on conflict (tenant_at_source) do update
     set tenant_id = excluded.tenant_id, next_at = least(s.next_at, excluded.next_at)
   where s.tenant_id <> excluded.tenant_id or s.next_at > excluded.next_at
)
select count(*) as tenants from tenant

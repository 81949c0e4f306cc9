-- What the registry keeps of the tenant $1, as the configuration or as the source spells it, under
-- the destination's name $2 (null: any): also destinations that nothing names any more. active: a
-- daemon named it when it last listed the destinations.
select destination_id, tenant_id, coalesce(source_tenant_id, tenant_id) as tenant_at_source, name, host, port, database_name,
       user_name, schema_name, active, forget_requested_at is not null as forgetting
  from offtake.destination
 where (tenant_id = $1 or source_tenant_id = $1) and ($2::text is null or name = $2)
 order by tenant_id, name

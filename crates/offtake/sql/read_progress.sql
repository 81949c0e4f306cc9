-- How far destinations are. $1 bigint[] destinations, $2 the sequence id to reach. One row per
-- destination: whether every one of its mappings is copied and has applied all changes up to $2,
-- and the obstacle where one is known. Reads by primary keys.
select d.tenant_id, d.name,
       (select count(*) from offtake.destination_mapping m
         where m.destination_id = d.destination_id and m.mapping = any(d.mappings) and m.backfilled and m.sequence_id >= $2
       ) = cardinality(d.mappings) as reached,
       coalesce(d.refused, case when d.paused_at is not null and (d.paused_until is null or d.paused_until > now()) then 'paused: ' || coalesce(d.pause_reason, 'no reason given') end,
                case when d.consecutive_failures > 0 then d.last_error end, d.reason,
                (select min(m.mapping || ': ' || m.error) from offtake.destination_mapping m
                  where m.destination_id = d.destination_id and m.error is not null)) as obstacle
  from offtake.destination d
 where d.destination_id = any($1)
 order by d.tenant_id, d.name

-- The destinations that must be looked at one by one, as list_destinations.sql has them (the
-- placeholder), and beside them the count of all others by their mappings. One statement and so one
-- snapshot. No parameters. One row at least; the first one has two columns that the others lack.
-- settled: an array of {mappings, source_tables, destinations, fuses, overlooked}; fuses has the
-- reason of each mapping whose fuse is blown, overlooked the mappings that wait for a re-copy. base:
-- what holds for all of these, that is the pending changes that concern every tenant, and the
-- newest change of each table. base.doubted: any destination may be concerned by changes that the
-- poller has not seen, so all are to be looked at: the same statement with choose_named.sql.
with listed as materialized (
  {listed}
), counted as (
  select mappings, source_tables, sum(destinations)::bigint as destinations
    from offtake.destination_count group by mappings, source_tables
), unsettled as (
  select registered_mappings, registered_tables, count(*) as destinations
    from listed group by registered_mappings, registered_tables
), settled as (
  select jsonb_agg(jsonb_build_object(
           'mappings', c.mappings, 'source_tables', c.source_tables, 'destinations', c.destinations - coalesce(u.destinations, 0),
           'fuses', (select coalesce(jsonb_object_agg(m.name, f.reason), '{}')
                       from unnest(c.mappings) m (name) join offtake.fuse f on f.name = 'mapping:' || m.name
                      where not f.enabled and (f.until is null or f.until > now())),
           'overlooked', (select coalesce(jsonb_agg(o.mapping), '[]')
                            from offtake.overlooked_mapping o where o.mapping = any(c.mappings)))) as groups
    from counted c
    left join unsettled u on u.registered_mappings = c.mappings and u.registered_tables = c.source_tables
   where c.destinations > coalesce(u.destinations, 0)
), beyond as (
  select count(*) > 100000 or coalesce(bool_or(tenant_id is null), false) as every
    from (select tenant_id from offtake.change_log
           where sequence_id > (select sequence_id from offtake.poller_position)
                     and sequence_id < (select sequence_id + 1000000000000 from offtake.poller_position) order by sequence_id limit 100001) l
), pending as (
  select coalesce(sum(coalesce(key_count, 1)) filter (where tenant_id is null), 0)::bigint as rows, count(*) > 100000 as more
    from (select tenant_id, key_count from offtake.captured_change limit 100001) c
)
select case when row_number() over () = 1 then coalesce(s.groups, '[]') end as settled,
       case when row_number() over () = 1 then jsonb_build_object(
         'pending_rows', p.rows, 'pending_uncounted', p.more, 'doubted', b.every,
         'newest', (select newest from offtake.poller_position)) end as base,
       l.*
  from settled s
 cross join pending p
 cross join beyond b
  left join listed l on true

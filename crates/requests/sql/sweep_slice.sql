-- Owes a sync to every destination of a slice that is behind and is owed nothing: a mapping that
-- was never mirrored or not copied, a cursor below a change of its tenant. So a lost request cannot
-- stay lost. The slice begins after destination $1 bigint and has at most $2 bigint destinations,
-- or a 360th of all where that is more. Returns how many were owed one, and after which destination
-- the next slice begins: null where this one was the last.
-- The changes without tenant of a table in fan_out are left out: their destinations are being told.
-- The poller calls it every few seconds, in a transaction of its own, under its lock: so half an
-- hour sees all of them, however many there are. Probes change_log_tenant once per destination and
-- source table: the entry behind a cursor, in the order of that index. Asked whether there is a change
-- of the tenant beyond its cursor, the server would read all changes beyond it where one tenant has
-- most of them.
with slice as materialized (
  select *
    from offtake.destination
   where destination_id > $1 and active and refused is null
   order by destination_id
   limit greatest($2::bigint, (select reltuples::bigint / 360 from pg_catalog.pg_class where oid = 'offtake.destination'::pg_catalog.regclass))
), behind as (
  select d.destination_id
    from slice d
   where not exists (select from offtake.outgoing_request r where r.kind = 'sync' and r.destination_id = d.destination_id)
     and (
       exists (select from unnest(d.mappings) m (name)
                left join offtake.destination_mapping s on s.destination_id = d.destination_id and s.mapping = m.name
               where s.mapping is null or not s.backfilled)
       or exists (select from unnest(d.source_tables) t (name)
                  cross join coalesce(d.source_tenant_id, d.tenant_id) of (tenant_id)
                   where exists (select from (select l.tenant_id, l.source_table, l.sequence_id from offtake.change_log l
                                               where (l.tenant_id, l.source_table, l.sequence_id) > (of.tenant_id, t.name, d.sequence_id)
                                               order by l.tenant_id, l.source_table, l.sequence_id limit 1) next
                                  where next.tenant_id = of.tenant_id and next.source_table = t.name
                                    and next.sequence_id <= (select sequence_id from offtake.poller_position))
                      or (not exists (select from offtake.fan_out f where f.source_table = t.name)
                          and exists (select from offtake.change_log l
                                       where l.tenant_id is null and l.source_table = t.name and l.sequence_id > d.sequence_id
                                         and l.sequence_id <= (select sequence_id from offtake.poller_position))))
     )
), owed as (
  insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id)
  select 'sync', destination_id, (select sequence_id from offtake.log_head) from behind
  on conflict (destination_id) where kind = 'sync' do nothing
  returning 1
)
select (select count(*) from owed) as owed, (select max(destination_id) from slice) as next

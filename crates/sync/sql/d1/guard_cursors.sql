-- Stops a batch that was read for other cursors. ?1 tenant, ?2 the write ids that it was read for, as
-- JSON pairs of mapping and id, ?3 the id of this write: the same batch may come twice.
-- The tenant may have altered the table; an id that is gone reads as empty.
insert into "_offtake_guard" (stale)
select 1 from "_offtake_state" as s
 where s.tenant_id = ?1
   and s.mapping is not null
   and not exists (select 1 from json_each(?2) as n
                    where n.value->>0 = s.mapping and coalesce(cast(s.write_id as TEXT), '') in (n.value->>1, ?3))
 union all
select 1 from json_each(?2) as n
 where not exists (select 1 from "_offtake_state" as s where s.tenant_id = ?1 and s.mapping = n.value->>0)
 limit 1

-- Stops a batch when other tenants have cursors there than were seen. ?1 tenant, ?2 the others, as a
-- JSON array, ?3 at most so many were read.
insert into "_offtake_guard" (stale)
select 1 from (select distinct tenant_id from "_offtake_state" where tenant_id <> ?1 order by tenant_id limit ?3) as s
 where s.tenant_id not in (select n.value from json_each(?2) as n)
 limit 1

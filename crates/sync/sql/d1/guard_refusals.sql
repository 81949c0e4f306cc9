-- Stops a batch that leaves out more rows than may be. ?1 tenant, ?2 mapping, ?3 the id of this write,
-- ?4 at most so many.
insert into "_offtake_guard" (refusals)
select 1 where (select count(*) from "_offtake_refused"
                 where tenant_id = ?1 and mapping = ?2 and write_id = ?3) > cast(?4 as INTEGER)

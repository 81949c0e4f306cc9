-- Which source serves this tenant here. ?1 tenant. served_since and served_at are for people.
select coalesce(source, ''), source_identity, coalesce(served_since, ''), coalesce(served_at, ''),
       coalesce((julianday('now') - julianday(served_at)) * 86400.0, 0.0)
  from "_offtake_state"
 where tenant_id = ?1 and source_identity is not null
 order by served_at desc limit 1

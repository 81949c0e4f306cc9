-- Which other tenants have, or had, cursors in the file, and how far. ?1 tenant, ?2 and ?3 the
-- tenant and mapping after which the page begins (null: at the first), ?4 at most so many.
select tenant_id, mapping, coalesce(cast(sequence_id as INTEGER), 0),
       coalesce(julianday(updated_at) > julianday('now', '-10 minutes'), 1)
  from "_offtake_state"
 where tenant_id <> ?1 and (?2 is null or (tenant_id, mapping) > (?2, ?3))
 order by tenant_id, mapping limit ?4

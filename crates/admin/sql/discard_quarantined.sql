-- Forgets quarantined rows of tenant $1, destination $2, mapping $3 (each text; null matches all).
-- The rows stay absent from the destination until they change at the source.
delete from offtake.quarantined_row q
 using offtake.destination d
 where d.destination_id = q.destination_id and d.active
   and ($1::text is null or d.tenant_id = $1) and ($2::text is null or d.name = $2) and ($3::text is null or q.mapping = $3)

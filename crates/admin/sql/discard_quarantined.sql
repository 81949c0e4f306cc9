-- Forgets quarantined rows of tenant $1, destination $2, mapping $3 (null: any): they stay absent
-- until they change.
delete from offtake.quarantined_row q
 using offtake.destination d
 where d.destination_id = q.destination_id and d.active
   and ($1::text is null or d.tenant_id = $1) and ($2::text is null or d.name = $2) and ($3::text is null or q.mapping = $3)

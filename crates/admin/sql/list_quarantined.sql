-- Quarantined rows of active destinations and of mappings that they have, sorted, at most $7: of
-- tenant $1, destination $2, mapping $3 (each text; null matches all). A page after the first
-- begins after the row with tenant $4, destination $5 and place $6; null: begin with the first row.
-- A place is the mapping and the key as text, joined by U+001F.
select d.tenant_id, d.name, q.mapping, q.row_key, q.sqlstate, q.error, q.attempts, q.first_failed_at, q.last_failed_at, q.retry_at,
       q.mapping || chr(31) || q.row_key::text as place
  from offtake.quarantined_row q join offtake.destination d using (destination_id)
 where d.active
   and (q.mapping = any(d.mappings)
        or exists (select from offtake.waiting_mapping w where w.destination_id = d.destination_id and w.mapping = q.mapping))
   and ($1::text is null or d.tenant_id = $1) and ($2::text is null or d.name = $2) and ($3::text is null or q.mapping = $3)
   and ($4::text is null or (d.tenant_id, d.name, q.mapping || chr(31) || q.row_key::text) > ($4, $5::text, $6::text))
 order by d.tenant_id, d.name, place
 limit $7

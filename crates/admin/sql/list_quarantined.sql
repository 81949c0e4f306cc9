-- Quarantined rows of active destinations, in order, at most $7: of tenant $1, destination $2,
-- mapping $3 (null: any), and beyond the one at $4 tenant, $5 destination, $6 mapping and key as
-- text, joined by U+001F (null: from the first).
select d.tenant_id, d.name, q.mapping, q.row_key, q.sqlstate, q.error, q.attempts, q.first_failed_at, q.last_failed_at, q.retry_at,
       q.mapping || chr(31) || q.row_key::text as place
  from offtake.quarantined_row q join offtake.destination d using (destination_id)
 where d.active and ($1::text is null or d.tenant_id = $1) and ($2::text is null or d.name = $2) and ($3::text is null or q.mapping = $3)
   and ($4::text is null or (d.tenant_id, d.name, q.mapping || chr(31) || q.row_key::text) > ($4, $5::text, $6::text))
 order by d.tenant_id, d.name, place
 limit $7

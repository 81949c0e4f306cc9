-- What receivers refuse, sorted, at most $8 (bigint): quarantined rows of active destinations and
-- events of active webhooks, of mappings that they have. Of tenant $1, destination $2, mapping $3,
-- webhook $4 (each text; null matches all; with $2 only rows, with $4 only events). A page after the
-- first begins behind tenant $5, destination or webhook $6 and place $7; null: begin with the first.
-- A place is mapping and key as text, joined by U+001F; that of an event begins with U+001F.
select tenant_id, destination, webhook, mapping, row_key, sqlstate, status, error, attempts, first_failed_at, last_failed_at, retry_at, name, place
  from (select d.tenant_id, d.name as destination, null as webhook, d.name, q.mapping, q.row_key, q.sqlstate, null::int as status, q.error,
               q.attempts, q.first_failed_at, q.last_failed_at, q.retry_at, q.mapping || chr(31) || q.row_key::text as place
          from offtake.quarantined_row q join offtake.destination d using (destination_id)
         where d.active and $4::text is null
           and (q.mapping = any(d.mappings)
                or exists (select from offtake.waiting_mapping w where w.destination_id = d.destination_id and w.mapping = q.mapping))
           and ($1::text is null or d.tenant_id = $1) and ($2::text is null or d.name = $2) and ($3::text is null or q.mapping = $3)
         union all
        select w.tenant_id, null, w.name, w.name, q.mapping, q.row_key, q.sqlstate, q.status, q.error,
               q.attempts, q.first_failed_at, q.last_failed_at, q.next_attempt_at, chr(31) || q.mapping || chr(31) || q.row_key::text
          from offtake.quarantined_event q join offtake.webhook w using (webhook_id)
         where w.active and $2::text is null and q.mapping = any(w.mappings)
           and ($1::text is null or w.tenant_id = $1) and ($4::text is null or w.name = $4) and ($3::text is null or q.mapping = $3)) q
 where $5::text is null or (tenant_id, name, place) > ($5, $6::text, $7::text)
 order by tenant_id, name, place
 limit $8

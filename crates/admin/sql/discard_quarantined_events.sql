-- Forgets quarantined events of tenant $1, webhook $2, mapping $3 (each text; null matches all). The
-- receiver is told of these keys when they change at the source, or by a resync.
delete from offtake.quarantined_event q
 using offtake.webhook w
 where w.webhook_id = q.webhook_id and w.active
   and ($1::text is null or w.tenant_id = $1) and ($2::text is null or w.name = $2) and ($3::text is null or q.mapping = $3)

-- Tells sweep and retention the lowest cursor of webhooks ($1 bigint[]), after their mappings were
-- written.
-- The registry calls it in its transaction, after register_webhooks.sql.
update offtake.webhook w
   set sequence_id = (select min(m.sequence_id) from offtake.webhook_mapping m where m.webhook_id = w.webhook_id and m.mapping = any(w.mappings))
 where w.webhook_id = any($1)

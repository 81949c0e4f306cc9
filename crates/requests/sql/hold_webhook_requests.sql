-- Locks the requests of webhooks ($1 bigint[]) until the transaction ends. A worker locks its request
-- first and its webhook then; a registry that wrote webhooks first would deadlock with it.
-- The webhooks' registry calls it, in a transaction that will write these webhooks, before it does so.
-- Uses outgoing_request_webhook; waits for the workers that write at the moment.
select request_id from offtake.outgoing_request
 where kind = 'webhook' and webhook_id = any($1)
 order by webhook_id for update

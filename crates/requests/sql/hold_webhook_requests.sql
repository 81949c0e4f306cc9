-- Locks the requests of all webhooks until the transaction ends. A worker locks its request first and
-- its webhook then; a registry that wrote webhooks first would deadlock with it. No parameters.
-- The webhooks' registry calls it, in a transaction that will write webhooks, before it does so.
select request_id from offtake.outgoing_request where kind = 'webhook' order by webhook_id for update

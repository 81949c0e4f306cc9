-- Locks destinations ($1 bigint[]) in the order of their ids, before any of their requests: every
-- statement that writes both does so, or two of them would deadlock. The registry calls it in its
-- transaction, with all that the transaction will write.
select from offtake.destination where destination_id = any($1) order by destination_id for no key update

-- What the poller and the engine look for every few seconds, however many destinations there are.
-- Daemons of the version before this one may go on running: they use none of it.

-- Not partial: a planner without statistics would begin other statements with all its entries.
create index destination_visited on offtake.destination (last_success_at);
create index destination_mapping_retry on offtake.destination_mapping (retry_at) where retry_at is not null;
create index quarantined_row_retry on offtake.quarantined_row (retry_at);
create index outgoing_request_failing on offtake.outgoing_request (not_before) where failures > 0;

-- Copies that were audited at the same time, as all that never were, have an order, so that a look for
-- the next ones can go on where the last one ended. Daemons of the version before this one may go on
-- running.
drop index offtake.destination_mapping_audited;
create index destination_mapping_audited on offtake.destination_mapping (audited_at, destination_id);

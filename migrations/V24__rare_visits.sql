-- Idle D1 databases are visited more rarely than others, and are found without reading those whose time
-- has not come. Daemons of the version before this one may go on running.

drop index offtake.destination_visited;
create index destination_visited on offtake.destination (shared, (kind = 'd1'), last_success_at);

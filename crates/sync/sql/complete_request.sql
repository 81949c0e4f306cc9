-- $1 request, $2 attempt, $3 the sequence id that every mapping of the destination has reached.
-- Nothing is owed any more unless the poller raised wanted_sequence_id meanwhile; then no row is
-- deleted, and the request is released instead.
delete from offtake.outgoing_request where request_id = $1 and attempt = $2 and wanted_sequence_id <= $3

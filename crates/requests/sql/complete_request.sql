-- $1 request, $2 attempt, $3 the sequence id that every mapping of the destination has reached:
-- nothing is owed any more. Where the poller has raised wanted_sequence_id meanwhile, no row is
-- deleted, and the caller releases the request instead. A transaction of its own.
delete from offtake.outgoing_request where request_id = $1 and attempt = $2 and wanted_sequence_id <= $3

-- The highest sequence id that is visible. Reads the end of two primary keys.
select greatest((select max(sequence_id) from offtake.change_log), (select sequence_id from offtake.poller_position), 0) as head

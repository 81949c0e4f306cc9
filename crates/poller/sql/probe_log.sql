-- Is the log ahead of the poller's position? Reads the head of the log's last partition's primary key.
select exists (select from offtake.change_log where sequence_id > (select sequence_id from offtake.poller_position)) as behind

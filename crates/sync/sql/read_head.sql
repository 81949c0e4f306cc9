-- Where a cursor that starts now stands: the highest visible sequence id, the epoch, and the oldest sequence id still in the log.
select greatest((select max(sequence_id) from offtake.change_log), (select sequence_id from offtake.poller_position), 0) as head,
       (select epoch_id::text from offtake.epoch order by started_at desc limit 1) as epoch

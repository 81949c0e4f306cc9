-- Is there anything to do? The cheap statement of an idle round. $1 bigint: only changes with a
-- greater capture id. Reads the first row by the primary key; in the table's own order, deleted
-- rows that VACUUM has not removed yet would be read one by one. last_sequence_id shows how far the
-- sequencers of all daemons have come.
select (select capture_id from offtake.captured_change where capture_id > $1 order by capture_id limit 1) is not null as captured,
       (select last_value from offtake.global_sequence) as last_sequence_id

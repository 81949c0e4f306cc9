-- Is there anything to do? The cheap statement of an idle tick. $1 bigint: beyond this capture id.
-- It asks for the first row by the primary key: deleted rows that vacuum has not removed yet would
-- be read one by one in the table's own order. Also tells how far any replica's sequencer has come.
select (select capture_id from offtake.captured_change where capture_id > $1 order by capture_id limit 1) is not null as captured,
       (select last_value from offtake.global_sequence) as last_sequence_id

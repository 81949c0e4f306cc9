-- Is there anything to do? The cheap statement of an idle tick. Also tells how far any replica's sequencer has come.
select exists (select from offtake.captured_change) as captured, (select last_value from offtake.global_sequence) as last_sequence_id

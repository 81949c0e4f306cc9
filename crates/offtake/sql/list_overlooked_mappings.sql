-- Mappings whose changes a daemon with other mapping files numbered, and when it last did so. A
-- handful of rows. No parameters.
select mapping, overlooked_at from offtake.overlooked_mapping order by mapping

-- Whether any active destination with the schema $1 text is one that other tenants may not share. Of a
-- shared place only such a destination can be a rival. Uses destination_visited, and ends at the first.
select exists (select from offtake.destination where active and not shared and schema_name = $1) as any

-- The active destinations of tenant $1, or only the one named $2 where that is not null; refused: why it is not served at all.
select destination_id, name, refused from offtake.destination
 where tenant_id = $1 and ($2::text is null or name = $2) and active
 order by name

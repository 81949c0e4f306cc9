-- The active destinations of tenant $1, or only the one named $2; null: any. refused: why it is not
-- served at all.
select destination_id, tenant_id, name, refused, mappings from offtake.destination
 where ($1::text is null or tenant_id = $1) and ($2::text is null or name = $2) and active
 order by tenant_id, name

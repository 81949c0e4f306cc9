-- The active destinations by tenant and name; the parameters are those of list_destinations.sql, of
-- which this is a part.
select * from offtake.destination
 where active and ($1::text is null or tenant_id = $1) and ($2::text is null or name = $2)
   and ($3::text is null or (tenant_id, name) > ($3, $4::text))
 order by tenant_id, name
 limit $5

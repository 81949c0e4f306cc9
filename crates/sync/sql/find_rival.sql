-- A served destination of another tenant whose table of this mapping is the one at hand, or may be. $1 text[] tenants that have cursors
-- there, $2 mapping, $3 what the table is, $4 schema, $5 database.
-- The table's oid, not its file: that is another one after TRUNCATE. Until a destination's first batch nothing is known of its tables, and
-- the names have to do. Uses the registry's unique key and the primary key of offtake.destination_mapping.
select d.tenant_id, d.name
  from offtake.destination d
  left join offtake.destination_mapping m on m.destination_id = d.destination_id and m.mapping = $2
 where d.active and d.tenant_id = any($1) and d.schema_name = $4 and $2 = any(d.mappings)
   and case when m.target_identity is null then d.database_name = $5
            else split_part(m.target_identity, ':', 1) = split_part($3, ':', 1) end
 order by d.tenant_id, d.name limit 1

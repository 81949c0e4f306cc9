-- Served destinations of other tenants whose tables may be those at hand, with how far the source
-- was told that they are. What is at hand: $1 text[] tenants that have cursors there, $2 text[]
-- their mappings, $3 text[] the tables' oids or null, $4 boolean[] whether the cursor moved lately,
-- $5 schema, $6 database, $7 whether the destination at hand is shared. The table's oid, not its
-- file: that is another one after TRUNCATE. Until a destination's first batch nothing is known of
-- its tables; then the database's name, or a cursor that moved lately, decides. Uses the registry's
-- unique key and the primary key of offtake.destination_mapping.
select d.tenant_id, d.name, t.mapping, coalesce(m.sequence_id, 0) as told
  from unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) t (tenant_id, mapping, oid, lately)
  join offtake.destination d on d.tenant_id = t.tenant_id
  left join offtake.destination_mapping m on m.destination_id = d.destination_id and m.mapping = t.mapping
 where d.active and d.schema_name = $5 and t.mapping = any(d.mappings) and not (d.shared and $7)
   and case when m.target_identity is null then d.database_name = $6 or t.lately
            else t.oid is null or split_part(m.target_identity, ':', 1) = t.oid end
 order by d.tenant_id, d.name, t.mapping

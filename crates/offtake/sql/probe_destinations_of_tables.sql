-- Whether any destination has copies from one of the source tables $1 text[] ("schema.table"). $2
-- text[] are the mappings that these tables drive: a mapping that went away and came back may have
-- left a copy which the destination's list of tables does not show. Reads the registry, one row per
-- destination and mapping.
select exists (select from offtake.destination where source_tables && $1)
       or exists (select from offtake.destination_mapping where mapping = any($2)) as copied, exists (select from offtake.destination) as any_destination

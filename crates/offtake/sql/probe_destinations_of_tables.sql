-- Whether any destination has copies from, or any webhook is told of, one of the source tables $1
-- text[] ("schema.table"). $2 text[] are the mappings that these tables drive: a mapping that went away and came back may have
-- left a copy which the destination's list of tables does not show. Reads the registry, one row per
-- destination and mapping.
select exists (select from offtake.destination where source_tables && $1)
       or exists (select from offtake.destination_mapping where mapping = any($2))
       or exists (select from offtake.webhook where source_tables && $1)
       or exists (select from offtake.webhook_mapping where mapping = any($2)) as copied,
       exists (select from offtake.destination) or exists (select from offtake.webhook) as any_destination

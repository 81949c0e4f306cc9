-- Has any destination copied one of these source tables? $1 text[] tables ("schema.table"), $2
-- text[] the mappings that they drive: a destination may have what one of them left before it went
-- away and came back. Reads the registry, one row per destination and mapping.
select exists (select from offtake.destination where source_tables && $1)
       or exists (select from offtake.destination_mapping where mapping = any($2)) as copied, exists (select from offtake.destination) as any_destination

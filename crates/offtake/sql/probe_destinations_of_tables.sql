-- Has any destination copied one of these source tables? $1 text[] tables ("schema.table"). Reads the registry, one row per destination.
select exists (select from offtake.destination where source_tables && $1) as copied, exists (select from offtake.destination) as any_destination

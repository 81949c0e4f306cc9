-- Notes that changes of the mappings $1 text[] may have been missed until now, where they have copies
-- (offtake.overlooked_mapping). Returns those that were not noted before.
insert into offtake.overlooked_mapping as o (mapping)
select name from unnest($1::text[]) name where exists (select from offtake.destination_mapping c where c.mapping = name)
on conflict (mapping) do update set overlooked_at = now()
returning o.mapping, o.xmax = 0 as new

-- Notes that changes of the mappings $1 text[], with the needs $2 text[], may have been missed
-- until now, where they have copies made for these needs (offtake.overlooked_mapping). Returns
-- those that were not noted before.
insert into offtake.overlooked_mapping as o (mapping)
select distinct own.name
  from unnest($1::text[], $2::text[]) own (name, need)
 where exists (select from offtake.destination_mapping c where c.mapping = own.name and coalesce(c.need, own.need) = own.need)
 order by own.name
on conflict (mapping) do update set overlooked_at = now()
returning o.mapping, o.xmax = 0 as new

-- Notes in offtake.overlooked_mapping that changes of the mappings $1 text[], with the needs $2
-- text[], may have been missed until now. Only mappings that have copies made for these needs, or
-- webhooks that were told for them, are noted. Returns the noted mappings, each with whether it was noted now for the first time.
insert into offtake.overlooked_mapping as o (mapping)
select distinct own.name
  from unnest($1::text[], $2::text[]) own (name, need)
 where exists (select from offtake.destination_mapping c where c.mapping = own.name and coalesce(c.need, own.need) = own.need)
    or exists (select from offtake.webhook_mapping w where w.mapping = own.name and coalesce(w.need, own.need) = own.need)
 order by own.name
on conflict (mapping) do update set overlooked_at = now()
returning o.mapping, o.xmax = 0 as new

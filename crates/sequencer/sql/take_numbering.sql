-- Records that daemon $1 numbers from now on, for mappings with the needs $2 text[] and the names
-- $3 text[]. Records a mapping as overlooked if another daemon numbered until now and did not know
-- the mapping, or knew another version of it, and if copies exist that were made for these needs, or
-- webhooks that were told for them.
-- Runs under the sequencer's lock, in the transaction that numbers. Returns the mappings that were
-- not recorded as overlooked before.
with before as (
  select daemon, needs from offtake.numbering
), overlooked as (
  insert into offtake.overlooked_mapping as o (mapping)
  select own.name
    from before b, unnest($2::text[], $3::text[]) own (need, name)
   where b.daemon <> $1 and own.need <> all (b.needs)
     and (exists (select from offtake.destination_mapping c where c.mapping = own.name and coalesce(c.need, own.need) = own.need)
          or exists (select from offtake.webhook_mapping w where w.mapping = own.name and coalesce(w.need, own.need) = own.need))
   order by own.name
  on conflict (mapping) do update set overlooked_at = now()
  returning o.mapping, o.xmax = 0 as new
), taken as (
  insert into offtake.numbering as n (daemon, needs) values ($1, $2)
  on conflict (single) do update set daemon = $1, needs = $2, since = now()
)
select mapping from overlooked where new

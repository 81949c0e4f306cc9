-- Makes offtake.waiting_mapping hold exactly these rows. $1 bigint[] destinations, $2 text[]
-- mappings, $3 text[] reasons, by position. Nothing is written when nothing changed. Runs in the
-- transaction that registers the destinations, under its lock.
with given as (
  select * from unnest($1::bigint[], $2::text[], $3::text[]) g (destination_id, mapping, reason)
), over as (
  delete from offtake.waiting_mapping w
   where not exists (select from given g where g.destination_id = w.destination_id and g.mapping = w.mapping)
)
insert into offtake.waiting_mapping as w (destination_id, mapping, reason)
select destination_id, mapping, reason from given
    on conflict (destination_id, mapping) do update set reason = excluded.reason
 where w.reason is distinct from excluded.reason

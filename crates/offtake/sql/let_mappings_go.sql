-- Removes from the registry all mappings but $1 text[], before capture is reduced to what these
-- need. A mapping that comes back later is then known to have been away (register_destinations.sql,
-- register_webhooks.sql), also where no daemon ran meanwhile. A daemon that still has a removed mapping
-- registers it again, and makes its copy again. Writes only rows of destinations and webhooks that have
-- such a mapping, in the order of their ids, as all statements that write many do.
with held as materialized (
  select destination_id from offtake.destination where not mappings <@ $1 order by destination_id for no key update
), webhooks as (
  update offtake.webhook w
     set (mappings, source_tables) = (
           select coalesce(array_agg(u.mapping order by u.at), '{}'), coalesce(array_agg(u.source_table order by u.at), '{}')
             from unnest(w.mappings, w.source_tables) with ordinality u (mapping, source_table, at)
            where u.mapping = any($1)),
         updated_at = now()
   where not w.mappings <@ $1
)
update offtake.destination d
   set (mappings, source_tables) = (
         select coalesce(array_agg(u.mapping order by u.at), '{}'), coalesce(array_agg(u.source_table order by u.at), '{}')
           from unnest(d.mappings, d.source_tables) with ordinality u (mapping, source_table, at)
          where u.mapping = any($1)),
       updated_at = now()
  from held
 where d.destination_id = held.destination_id

-- Takes the mappings that are no longer named out of the registry, before capture is changed to
-- what the others need: one that comes back is then known to have been away
-- (register_destination.sql), also when no daemon ran meanwhile. $1 text[] mappings that are named.
-- A daemon that still has one of them writes it back, and makes its copy anew. Touches only
-- destinations that have others.
update offtake.destination d
   set (mappings, source_tables) = (
         select coalesce(array_agg(u.mapping order by u.at), '{}'), coalesce(array_agg(u.source_table order by u.at), '{}')
           from unnest(d.mappings, d.source_tables) with ordinality u (mapping, source_table, at)
          where u.mapping = any($1)),
       updated_at = now()
 where not d.mappings <@ $1

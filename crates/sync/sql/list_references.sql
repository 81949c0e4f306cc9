-- Runs at a destination: which mapping's table refers to which other's by a foreign key. $1 text[]:
-- mappings, $2 text[]: their tables, quoted and qualified, in the same order.
select child.mapping as child, parent.mapping as parent, bool_and(k.condeferrable) as deferrable
  from unnest($1::text[], $2::text[]) child (mapping, name)
  join pg_constraint k on k.contype = 'f' and k.conrelid = to_regclass(child.name)
  join unnest($1::text[], $2::text[]) parent (mapping, name) on k.confrelid = to_regclass(parent.name)
 group by child.mapping, parent.mapping

-- Runs at a destination: which mapping's table refers to which other's by a foreign key. $1 text[]:
-- mappings, $2 text[]: their tables, quoted and qualified, in the same order. acting, and refers in
-- the same order: the keys that delete or change rows when a row they refer to is deleted, and when
-- a row c of the child refers to a row t of the parent. updating, updating_refers and
-- updating_columns: the same of the keys that change rows when a column that they refer to changes,
-- with the names of these columns as JSON.
select child.mapping as child, parent.mapping as parent, bool_and(k.condeferrable) as deferrable,
       child.name as child_table,
       coalesce(array_agg(k.conname::text order by k.conname) filter (where k.confdeltype in ('c', 'n', 'd')), '{}') as acting,
       coalesce(array_agg(pairs.refers order by k.conname) filter (where k.confdeltype in ('c', 'n', 'd')), '{}') as refers,
       coalesce(array_agg(k.conname::text order by k.conname) filter (where k.confupdtype in ('c', 'n', 'd')), '{}') as updating,
       coalesce(array_agg(pairs.refers order by k.conname) filter (where k.confupdtype in ('c', 'n', 'd')), '{}') as updating_refers,
       coalesce(array_agg(pairs.columns order by k.conname) filter (where k.confupdtype in ('c', 'n', 'd')), '{}') as updating_columns
  from unnest($1::text[], $2::text[]) child (mapping, name)
  join pg_constraint k on k.contype = 'f' and k.conrelid = to_regclass(child.name)
  join unnest($1::text[], $2::text[]) parent (mapping, name) on k.confrelid = to_regclass(parent.name)
 cross join lateral (
       select string_agg(format('c.%I = t.%I', here.attname, there.attname), ' and ' order by place),
              json_agg(there.attname order by place)::text
         from unnest(k.conkey, k.confkey) with ordinality pair (here, there, place)
         join pg_attribute here on here.attrelid = k.conrelid and here.attnum = pair.here
         join pg_attribute there on there.attrelid = k.confrelid and there.attnum = pair.there) pairs (refers, columns)
 group by child.mapping, parent.mapping, child.name

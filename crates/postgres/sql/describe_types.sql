-- What the columns of the mappings' queries are called, here and in a destination, one row per
-- column. $1: type oids, $2: type modifiers, by position; the protocol has put the base type in a
-- domain's place already. Read under search_path = pg_catalog, so that types outside it come out
-- qualified. A type travels under its own name when every Postgres has it and its text means the
-- same there: not enums, composites and extensions' types, nor names of catalog objects. Their
-- values travel as text.
select format_type(a.type, a.modifier) as source_type,
       format_type(a.type, null) as base_type,
       case when a.modifier = -1 and t.oid = 'pg_catalog.bit'::regtype then 'bit varying'
            when a.modifier = -1 and t.oid = 'pg_catalog.bit[]'::regtype then 'bit varying[]'
            when t.typnamespace = 'pg_catalog'::regnamespace
                 and t.typtype in ('b', 'r', 'm')
                 and coalesce(e.typtype, 'b') in ('b', 'r', 'm')
                 and coalesce(e.typname, t.typname) !~ '^(reg.*|aclitem|pg_node_tree|pg_ndistinct|pg_dependencies|pg_mcv_list|pg_brin_.*)$'
            then format_type(a.type, a.modifier)
            else 'text'
       end as target_type,
       a.type = any ('{int2, int4, int8, oid, numeric, uuid, date, timestamp, timestamptz, bytea, bool}'::regtype[]) as ordered_alike
  from unnest($1::oid[], $2::int4[]) with ordinality as a (type, modifier, position)
  join pg_type t on t.oid = a.type
  left join pg_type e on e.oid = t.typelem and t.typlen = -1
 order by a.position

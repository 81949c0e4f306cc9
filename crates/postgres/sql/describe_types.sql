-- What the columns of the mappings' queries are called, here and in a destination, one row per column.
-- $1: type oids, $2: type modifiers, by position. Read under search_path = pg_catalog, so that types outside it come out
-- qualified. Domains stand for the type below them. A type travels under its own name when every Postgres has it and
-- its text means the same there: not enums, composites and extensions' types, nor names of catalog objects.
with recursive asked as (
  select position, type, modifier
    from unnest($1::oid[], $2::int4[]) with ordinality as a (type, modifier, position)
), below as (
  select position, type, modifier from asked
  union all
  select b.position, t.typbasetype, t.typtypmod
    from below b
    join pg_type t on t.oid = b.type and t.typtype = 'd'
)
select format_type(a.type, a.modifier) as source_type,
       case when b.modifier = -1 and t.oid = 'pg_catalog.bit'::regtype then 'bit varying'
            when b.modifier = -1 and t.oid = 'pg_catalog.bit[]'::regtype then 'bit varying[]'
            when t.typnamespace = 'pg_catalog'::regnamespace
                 and t.typtype in ('b', 'r', 'm')
                 and coalesce(e.typtype, 'b') in ('b', 'r', 'm')
                 and coalesce(e.typname, t.typname) !~ '^(reg.*|aclitem|pg_node_tree|pg_ndistinct|pg_dependencies|pg_mcv_list|pg_brin_.*)$'
            then format_type(b.type, b.modifier)
            else 'text'
       end as target_type,
       a.type = any ('{int2, int4, int8, oid, numeric, uuid, date, timestamp, timestamptz, bytea, bool}'::regtype[]) as ordered_alike
  from asked a
  join below b using (position)
  join pg_type t on t.oid = b.type and t.typtype <> 'd'
  left join pg_type e on e.oid = t.typelem and t.typlen = -1
 order by a.position

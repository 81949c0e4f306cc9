-- What the columns of the mappings' queries are called, here and in a destination, one row per
-- column. $1: type oids, $2: type modifiers, by position; the protocol has put the base type in a
-- domain's place already. Read under search_path = pg_catalog, so that types outside it come out
-- qualified. A type travels under its own name when every Postgres has it and its text means the
-- same there: not enums, composites and extensions' types, nor names of catalog objects. Their
-- values travel as text. kind, is_array, built_in, collatable: what decides whether equal values
-- print the same. equals: the type's `=` as SQL writes it under any search path, or null.
-- comparable: the type and all that it is made of have one.
with recursive part (position, type, depth) as (
  select a.position, a.type, 0
    from unnest($1::oid[]) with ordinality as a (type, position)
  union
  select p.position, inner_type, p.depth + 1
    from part p
    join pg_type t on t.oid = p.type
   cross join lateral (
         select t.typelem where t.typlen = -1 and t.typelem <> 0
         union all select t.typbasetype where t.typtype = 'd'
         union all select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
         union all select a.atttypid from pg_attribute a
                    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) inside (inner_type)
   where p.depth < 10
), operator (type, equals) as (
  -- The default operator class of the type, or of the one that it is read as (varchar as text).
  select t.type, (select case when n.nspname = 'pg_catalog' then o.oprname::text
                              else format('operator(%I.%s)', n.nspname, o.oprname) end
                    from pg_opclass c
                    join pg_am m on m.oid = c.opcmethod and m.amname in ('btree', 'hash')
                    join pg_amop s on s.amopfamily = c.opcfamily and s.amoplefttype = c.opcintype and s.amoprighttype = c.opcintype
                                  and s.amopstrategy = case m.amname when 'btree' then 3 else 1 end
                    join pg_operator o on o.oid = s.amopopr
                    join pg_namespace n on n.oid = o.oprnamespace
                   where c.opcdefault
                     and (c.opcintype = t.type
                          or c.opcintype = case when d.typlen = -1 and d.typelem <> 0 then 'anyarray'::regtype
                                                when d.typtype = 'e' then 'anyenum'::regtype
                                                when d.typtype = 'r' then 'anyrange'::regtype
                                                when d.typtype = 'm' then 'anymultirange'::regtype
                                                when d.typtype = 'c' then 'record'::regtype end
                          or c.opcintype in (select k.casttarget from pg_cast k
                                              where k.castsource = t.type and k.castmethod = 'b' and k.castcontext = 'i'))
                   order by c.opcintype = t.type desc, m.amname limit 1)
    from (select distinct type from part) t
    join pg_type d on d.oid = t.type
)
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
       a.type = any ('{int2, int4, int8, oid, numeric, uuid, date, timestamp, timestamptz, bytea, bool}'::regtype[]) as ordered_alike,
       t.typtype::text as kind,
       t.typlen = -1 and t.typelem <> 0 as is_array,
       t.typnamespace = 'pg_catalog'::regnamespace as built_in,
       t.typcollation <> 0 as collatable,
       (select o.equals from operator o where o.type = a.type) as equals,
       (select bool_and(o.equals is not null or d.typtype = 'd')
          from part p join operator o using (type) join pg_type d on d.oid = p.type
         where p.position = a.position) as comparable
  from unnest($1::oid[], $2::int4[]) with ordinality as a (type, modifier, position)
  join pg_type t on t.oid = a.type
  left join pg_type e on e.oid = t.typelem and t.typlen = -1
 order by a.position

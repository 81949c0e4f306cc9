-- The tables whose rows belong to tenants, as the catalog has them now. $1 text[] names as SQL writes
-- them. A table with children by inheritance comes with all of them, each for itself; a partitioned
-- table comes alone, because its rows are read and written through it. `at`: the place in $1. Read
-- under search_path = pg_catalog, so that types outside it come out qualified. No lock.
with recursive named (at, oid) as (
  select at, pg_catalog.to_regclass(name)::oid
    from pg_catalog.unnest($1::text[]) with ordinality given (name, at)
), member (at, oid) as (
  select at, oid from named
  union
  select m.at, i.inhrelid
    from member m
    join pg_catalog.pg_inherits i on i.inhparent = m.oid
    join pg_catalog.pg_class child on child.oid = i.inhrelid and not child.relispartition
), key_index as (
  select distinct on (x.indrelid) x.indrelid, x.indexrelid, x.indkey, x.indclass, x.indnkeyatts
    from pg_catalog.pg_index x
    join member m on m.oid = x.indrelid
   where x.indisunique and x.indisvalid and x.indpred is null and x.indexprs is null
     and (x.indisprimary or x.indimmediate)
     and not exists (
           select from pg_catalog.pg_attribute a
            where a.attrelid = x.indrelid and not a.attnotnull
              and a.attnum = any ((x.indkey::int2[])[0:x.indnkeyatts - 1]))
   order by x.indrelid, x.indisprimary desc, x.indnkeyatts, x.indexrelid
)
select (m.at - 1)::int4 as at, m.oid, n.nspname::text as schema, c.relname::text as name,
       c.relkind::text as kind, c.relpersistence::text as persistence,
       exists (
         select from pg_catalog.pg_partition_ancestors(c.oid) above
          where above.relid <> c.oid and above.relid in (select oid from member)) as covered,
       array(
         select a.attname::text
           from pg_catalog.generate_series(0, k.indnkeyatts - 1) place
           join pg_catalog.pg_attribute a
             on a.attrelid = c.oid and a.attnum = (k.indkey::int2[])[place]
          order by place) as key_columns,
       coalesce(operators.equal, '{}') as key_equals, coalesce(operators.greater, '{}') as key_greater
  from member m
  left join pg_catalog.pg_class c on c.oid = m.oid
  left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join key_index k on k.indrelid = c.oid
  -- A btree's third strategy is `=`, and its fifth is `>`.
  left join lateral (
    select array_agg(named.operator order by place) filter (where entry.amopstrategy = 3) as equal,
           array_agg(named.operator order by place) filter (where entry.amopstrategy = 5) as greater
      from pg_catalog.generate_series(0, k.indnkeyatts - 1) place
      join pg_catalog.pg_opclass class on class.oid = (k.indclass::oid[])[place]
      join pg_catalog.pg_amop entry
        on entry.amopfamily = class.opcfamily and entry.amopstrategy in (3, 5)
       and entry.amoplefttype = class.opcintype and entry.amoprighttype = class.opcintype
      join pg_catalog.pg_operator o on o.oid = entry.amopopr
      join pg_catalog.pg_namespace own on own.oid = o.oprnamespace
      cross join lateral (
        select pg_catalog.format('operator(%I.%s)', own.nspname, o.oprname) as operator) named
    ) operators on true
 order by m.at, n.nspname, c.relname

-- What is there under the target's name. $1 text: the quoted, qualified name. No row: nothing.
-- identity: see lock_states.sql. unlogged: the table, or a partition of it, that a crash of this
-- server empties. unique_keys: the columns of every unique, complete, immediate index, so that the
-- key can be looked for among them. coarse: columns of which different texts may be equal, by their
-- collation or by a type of an extension (citext).
select c.relkind::text as kind, c.oid::text || ':' || c.relfilenode as identity, obj_description(c.oid, 'pg_class') as mark,
       (with recursive part as (select c.oid
                                 union
                                select i.inhrelid from part join pg_inherits i on i.inhparent = part.oid)
        select min(format('%I.%I', n.nspname, u.relname))
          from part join pg_class u on u.oid = part.oid join pg_namespace n on n.oid = u.relnamespace
         where u.relkind = 'r' and u.relpersistence = 'u') as unlogged,
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns,
       array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as types,
       array(select a.attname::text from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attnotnull
                and not a.atthasdef and a.attidentity = '') as required,
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attgenerated <> '' and not a.attisdropped) as computed,
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attidentity = 'a' and not a.attisdropped) as identities,
       array(select (select string_agg(a.attname::text, chr(31) order by a.attname::text)
                       from unnest(i.indkey::smallint[]) k join pg_attribute a on a.attrelid = c.oid and a.attnum = k)
               from pg_index i
              where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null) as unique_keys,
       array(select a.attname::text
               from pg_attribute a
               join pg_type t on t.oid = a.atttypid
               left join pg_type b on b.oid = t.typbasetype
               left join pg_collation n on n.oid = a.attcollation
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                and (not n.collisdeterministic
                     or (coalesce(b.typnamespace, t.typnamespace) <> 'pg_catalog'::regnamespace and coalesce(b.typtype, t.typtype) <> 'e'))) as coarse
  from pg_class c
 where c.oid = to_regclass($1)

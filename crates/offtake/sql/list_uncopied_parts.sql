-- What of table $1 (quoted for SQL) is not copied besides its rows: one line each.
select 'the column ' || a.attname || ' is generated here; the copy has its values' as line
  from pg_attribute a where a.attrelid = $1::text::regclass and a.attgenerated <> '' and not a.attisdropped
union all
select 'the column ' || a.attname || case a.attidentity when '' then ' has a default' else ' is an identity' end
  from pg_attribute a where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped
   and a.attgenerated = '' and (a.atthasdef or a.attidentity <> '')
union all
select case c.contype when 'c' then 'the check ' when 'f' then 'the foreign key ' else 'the exclusion constraint ' end || c.conname
  from pg_constraint c where c.conrelid = $1::text::regclass and c.contype in ('c', 'f', 'x')
union all
select 'the trigger ' || t.tgname
  from pg_trigger t where t.tgrelid = $1::text::regclass and not t.tgisinternal and t.tgname not like 'offtake%'
 order by 1

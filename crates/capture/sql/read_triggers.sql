-- Every trigger that runs one of Offtake's functions, on any relation but Offtake's own, whose
-- triggers are part of the migrations. Scans pg_trigger sequentially; it is small compared with the
-- tables it describes.
select t.tgrelid as relation, n.nspname::text as schema_name, c.relname::text as table_name, t.tgname::text as name,
       p.proname::text as function, t.tgenabled::text as enabled, t.tgtype::int4 as firing,
       t.tgoldtable::text as old_rows, t.tgnewtable::text as new_rows,
       t.tgqual is not null or t.tgnargs > 0 as conditional
  from pg_catalog.pg_trigger t
  join pg_catalog.pg_proc p on p.oid = t.tgfoid
  join pg_catalog.pg_namespace f on f.oid = p.pronamespace and f.nspname = 'offtake'
  join pg_catalog.pg_class c on c.oid = t.tgrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname <> 'offtake'
 order by n.nspname, c.relname, t.tgname

-- Offtake's own tables, the largest first: size with indexes, rows that vacuum has not removed yet,
-- and whether autovacuum is switched off for the table. No parameters; catalogs and statistics only.
select c.relname::text as name, pg_total_relation_size(c.oid) as bytes,
       coalesce(s.n_live_tup, 0) as live_rows, coalesce(s.n_dead_tup, 0) as dead_rows,
       coalesce('autovacuum_enabled=false' = any(c.reloptions) or 'autovacuum_enabled=off' = any(c.reloptions), false) as without_autovacuum
  from pg_class c
  left join pg_stat_user_tables s on s.relid = c.oid
 where c.relnamespace = 'offtake'::regnamespace and c.relkind = 'r'
 order by 2 desc, 1

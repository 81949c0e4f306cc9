-- Which partitions of the log, and which tables that grow with the number of destinations, have no
-- statistics, or such of half their size: autovacuum comes by once a minute at best, and not where
-- it is switched off, and until then what is asked several times a second reads them from end to
-- end. Tables of another role are left to that role.
select format('offtake.%I', c.relname) as name
  from pg_catalog.pg_class c
 where c.relnamespace = 'offtake'::regnamespace
   and (c.relname in ('destination', 'destination_mapping', 'visit', 'quarantined_row', 'audit')
        or c.relkind = 'r' and c.relname ~ '^change_log_\d+$')
   and pg_catalog.pg_relation_size(c.oid) / 8192 > greatest(2 * c.relpages, 100)
   and pg_catalog.pg_has_role(c.relowner, 'USAGE')

-- The numbers of the log's partitions, oldest first.
select substring(c.relname from 'change_log_([0-9]+)$')::bigint as partition
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'offtake.change_log'::regclass
 order by partition

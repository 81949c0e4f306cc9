-- Partitions of the log whose newest change was numbered before twice the retention of $1 bigint
-- milliseconds and an hour: the daemon drops such partitions. The one that is written to is not
-- among them. One probe of the primary key per partition.
select p.partition, l.sequenced_at
  from (select substring(c.relname from 'change_log_([0-9]+)$')::bigint as partition
          from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'offtake.change_log'::regclass) p
 cross join lateral (
       select sequenced_at from offtake.change_log
        where sequence_id >= p.partition * 10000000 and sequence_id < (p.partition + 1) * 10000000
        order by sequence_id desc limit 1) l
 where l.sequenced_at < now() - 2 * $1::bigint * interval '1 millisecond' - interval '1 hour'
   and (p.partition + 1) * 10000000 <= (select last_value from offtake.global_sequence)
 order by p.partition

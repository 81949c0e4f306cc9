-- Where the log stands: the highest visible sequence id, the epoch, and where the log begins: the
-- first sequence id of its oldest partition. $1 bigint: sequence ids per partition.
select (select sequence_id from offtake.log_head) as head,
       (select epoch_id::text from offtake.epoch order by started_at desc limit 1) as epoch,
       coalesce((select min(substring(c.relname from 'change_log_([0-9]+)$')::bigint) * $1::bigint
                   from pg_inherits i join pg_class c on c.oid = i.inhrelid
                  where i.inhparent = 'offtake.change_log'::regclass), 0) as log_begins

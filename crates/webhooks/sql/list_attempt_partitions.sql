-- The days of which the attempts log has a partition, as days since 1970, and today.
-- The webhooks engine calls it when it keeps the log.
select (select coalesce(array_agg(substring(c.relname from 'webhook_attempt_([0-9]+)$')::int order by 1), '{}')
          from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'offtake.webhook_attempt'::regclass) as days,
       floor(extract(epoch from now()) / 86400)::int as today

-- Adds the partition of one day to the attempts log. {day}: days since 1970. Created on its own and
-- then attached, as add_partition.sql does for the change log.
-- The webhooks engine calls it; a transaction of its own, under a lock timeout.
create table if not exists offtake.webhook_attempt_{day} (like offtake.webhook_attempt including defaults including indexes);
alter table offtake.webhook_attempt attach partition offtake.webhook_attempt_{day}
  for values from (to_timestamp({day}::bigint * 86400)) to (to_timestamp(({day}::bigint + 1) * 86400))

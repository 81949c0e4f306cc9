-- Adds up the rows of offtake.destination_count with the same mappings, and those of
-- offtake.webhook_count, once there are more than a hundred, and forgets all but the latest ten
-- thousand of offtake.registration. No parameters. Rows that other sessions append meanwhile stay as
-- they are. The poller calls it with its sweep, under its lock, so that no row is added up twice.
with forgotten as (
  delete from offtake.registration where number <= (select max(number) - 10000 from offtake.registration)
), old as (
  delete from offtake.destination_count
   where (select count(*) from (select from offtake.destination_count limit 101) c) > 100
  returning mappings, source_tables, destinations
), old_webhooks as (
  delete from offtake.webhook_count
   where (select count(*) from (select from offtake.webhook_count limit 101) c) > 100
  returning webhooks
), webhooks as (
  insert into offtake.webhook_count (webhooks)
  select sum(webhooks)::bigint from old_webhooks having sum(webhooks) <> 0
)
insert into offtake.destination_count (mappings, source_tables, destinations)
select mappings, source_tables, sum(destinations)::bigint from old group by mappings, source_tables having sum(destinations) <> 0

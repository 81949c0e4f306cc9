-- Numbers a visit of each of many destinations, as begin_visit.sql does of one; see there. $1 bigint[]
-- destinations, $2 bigint[] numbers to go beyond.
with next as materialized (
  select told.destination_id,
         greatest(told.beyond, coalesce((select max(number) from offtake.visit v where v.destination_id = told.destination_id), 0)) + 1 as number
    from unnest($1::bigint[], $2::bigint[]) told (destination_id, beyond)
), old as (
  delete from offtake.visit v using next where v.destination_id = next.destination_id and v.number < next.number - 15
), there as materialized (
  select d.destination_id from offtake.destination d join next using (destination_id) order by d.destination_id for key share of d
)
insert into offtake.visit (destination_id, number)
select next.destination_id, next.number
  from next join there using (destination_id), (select set_config('synchronous_commit', 'on', true) offset 0) durable
on conflict (destination_id, number) do nothing
returning destination_id, number, visit_id::text as visit_id

-- Numbers a visit of each of many destinations, as begin_visit.sql does of one; see there. $1 bigint[]
-- destinations, $2 bigint[] numbers to go beyond. Each destination and its old visits are found by
-- an index, whatever the plan's statistics say: a join may read all destinations for each group.
with next as materialized (
  select told.destination_id,
         greatest(told.beyond, coalesce((select max(number) from offtake.visit v where v.destination_id = told.destination_id), 0)) + 1 as number
    from unnest($1::bigint[], $2::bigint[]) told (destination_id, beyond)
   order by told.destination_id
), old as (
  delete from offtake.visit v
   where v.ctid = any (array(
           select old.ctid
             from next cross join lateral
                  (select v.ctid from offtake.visit v where v.destination_id = next.destination_id and v.number < next.number - 15 offset 0) old))
), there as materialized (
  select next.destination_id, next.number
    from next cross join lateral
         (select from offtake.destination d where d.destination_id = next.destination_id for key share) d
)
insert into offtake.visit (destination_id, number)
select there.destination_id, there.number
  from there, (select set_config('synchronous_commit', 'on', true) offset 0) durable
on conflict (destination_id, number) do nothing
returning destination_id, number, visit_id::text as visit_id

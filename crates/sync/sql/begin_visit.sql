-- Numbers a visit before the destination is told of it: durable, where the session is not. $1
-- destination, $2 bigint a number to go beyond. Keeps the latest sixteen. No row: another worker
-- took the same number at this moment, or the destination was forgotten.
with next as (
  select greatest($2::bigint, coalesce((select max(number) from offtake.visit where destination_id = $1), 0)) + 1 as number
), old as (
  delete from offtake.visit v using next where v.destination_id = $1 and v.number < next.number - 15
)
insert into offtake.visit (destination_id, number)
select $1, number
  from next, (select set_config('synchronous_commit', 'on', true) offset 0) durable,
       (select from offtake.destination where destination_id = $1 for key share) there
on conflict (destination_id, number) do nothing
returning number, visit_id::text as visit_id

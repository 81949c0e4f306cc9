-- The destinations that any process has registered, changed or removed after registration $1 bigint,
-- and with the thousand registrations before it, because a number is drawn before its transaction
-- commits. Null where there are more than $2 bigint, or where the poller's sweep has forgotten some
-- of them. Read under the registry's lock, by the primary key.
with latest as (
  select number, destination from offtake.registration where number > $1::bigint - 1000 order by number limit $2::bigint + 1
)
select case when count(*) <= $2::bigint and coalesce((select min(number) from offtake.registration) <= $1::bigint + 1, $1::bigint = 0)
            then coalesce(array_agg(distinct destination), '{}') end as destinations
  from latest

-- The number of the latest registration; 0: there is none. By the primary key. No parameters.
select coalesce((select number from offtake.registration order by number desc limit 1), 0) as number

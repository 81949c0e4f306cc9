-- Stops a batch when a table has a trigger, which may change or drop what is written. ?1 as a JSON
-- array: the tables' names in lower case.
insert into "_offtake_guard" (trigger_)
select 1 from sqlite_schema as s
 where s.type = 'trigger' and lower(s.tbl_name) in (select n.value from json_each(?1) as n)
 limit 1

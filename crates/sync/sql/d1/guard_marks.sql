-- Stops a batch when a table is another one than it was read for. ?1 JSON pairs: the table's name in
-- lower case, and the name of its mark.
insert into "_offtake_guard" (replaced)
select 1 from json_each(?1) as n
 where not exists (select 1 from sqlite_schema as s
                    where s.type = 'index' and s.name = n.value->>1 and lower(s.tbl_name) = n.value->>0)
 limit 1

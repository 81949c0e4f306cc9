-- Notes that anything may have changed in a table while it was not captured, so that its mappings
-- are copied again, in place. $1 "schema.table".
insert into offtake.captured_change (source_table, operation) values ($1, 't')

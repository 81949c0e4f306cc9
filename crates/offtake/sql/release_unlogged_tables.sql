-- Tables that were unlogged and are logged again: anything in them may have changed, so their
-- mappings are copied again, in place. $1 text[] "schema.table". One row for each such table.
with logged as (
  delete from offtake.unlogged_table where source_table = any($1) returning source_table
)
insert into offtake.captured_change (source_table, operation)
select source_table, 't' from logged
returning source_table

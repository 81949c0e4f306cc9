-- Whether the collations of columns of a mapping's query are deterministic, one row: an array with
-- one boolean per column, null where the parser cannot tell the collation. What is put in: one
-- expression per column `q."name"` of a type that has a collation, and the query. Nothing of the
-- query is run: its rows are joined under a condition that is false.
select array[{columns}]
  from (select) nothing left join (select * from (
{query}
) q where false) q on true

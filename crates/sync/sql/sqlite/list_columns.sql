-- The columns of the table ?1: name, declared type, whether it takes no NULL, its default, and
-- whether it is generated.
select name, type, "notnull", dflt_value, hidden in (2, 3) from pragma_table_xinfo(?1) where hidden <> 1 order by cid

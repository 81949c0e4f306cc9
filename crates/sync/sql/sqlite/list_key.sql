-- The columns of the primary key of the table ?1, quoted, in one text; without one the rows' number.
select coalesce(group_concat('"' || replace(name, '"', '""') || '"', ', '), 'rowid')
  from pragma_table_info(?1) where pk > 0

-- Everything of the file's schema that concerns tables: type, name and table, with the table's name
-- in the letters that SQLite compares names by.
select type, name, lower(tbl_name), tbl_name from sqlite_schema where type in ('table', 'view', 'index', 'trigger')

-- Foreign keys of tables: whose, and to which table.
with t as materialized (
  select name from sqlite_schema where type = 'table' and name not like '\_cf\_%' escape '\' and name not like 'sqlite\_%' escape '\'
)
select t.name, f."table" from t join pragma_foreign_key_list(t.name) as f

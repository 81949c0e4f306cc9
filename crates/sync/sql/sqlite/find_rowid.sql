-- The column of the table ?1 that is another name of its rows' number: an INTEGER that is the whole
-- primary key, which then has no index of its own.
select name from pragma_table_info(?1)
 where pk > 0 and type = 'INTEGER' collate nocase
   and (select count(*) from pragma_table_info(?1) where pk > 0) = 1
   and not exists (select 1 from pragma_index_list(?1) where origin = 'pk')

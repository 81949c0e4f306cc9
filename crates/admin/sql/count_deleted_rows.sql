-- Counts the tombstones of each source table, up to 100 001. No parameters. Reads the index
-- change_log_deleted (source_table) where deleted. The tables are those that destinations have, and
-- those whose changes concerned one.
select t.name as source_table, l.rows
  from (select unnest(source_tables) as name from offtake.destination_count
         union
        select jsonb_object_keys(newest) from offtake.poller_position) t
 cross join lateral (
       select least(coalesce(sum(coalesce(key_count, 1)), 0), 100001)::bigint as rows
         from (select key_count from offtake.change_log where deleted and source_table = t.name limit 100001) l) l
 where l.rows > 0
 order by t.name

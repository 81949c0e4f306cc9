-- Counts what a restore has written, for the metrics. $1, $2, $3 bigint: rows that it added, changed and deleted. Locks
-- three rows for a moment; a transaction of its own.
update offtake.restored_rows
   set rows = rows + case operation when 'add' then $1::bigint when 'change' then $2::bigint else $3::bigint end

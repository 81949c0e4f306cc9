-- Waits for something to do; the statement of an idle round. $1 bigint: only changes with a greater
-- capture id. $2 bigint: the last sequence id that is known; a greater one shows that another daemon
-- numbered. Seconds, all double precision: $3 from one look to the next, $4 the whole at most, $5
-- from one look back to the next, $6 the same as a multiple of the look's own time, $7 until the
-- first look back. Each look reads the first row by the primary key; in the table's own order,
-- deleted rows that VACUUM has not removed yet would be read one by one. The server keeps one
-- snapshot and its locks for the whole time, so it must be short.
select captured, last_sequence_id, from_start, look_back_in
  from offtake.await_changes($1::bigint, $2::bigint, $3::double precision, $4::double precision, $5::double precision, $6::double precision,
                             $7::double precision)

-- Forgets the pieces of a chunk of job $1 bigint, attempt $2 bigint, beyond those that it has now. $3 text:
-- mapping; $4 integer: chunk; $5 integer: the last piece that it has. In the transaction of note_progress.sql.
delete from offtake.job_chunk c
 where c.job_id = $1 and c.mapping = $3 and c.chunk = $4 and c.piece > $5
   and exists (select from offtake.job where job_id = $1 and attempt = $2 and leased_until is not null)

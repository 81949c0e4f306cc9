-- Records a part of job $1 bigint while $2 bigint is still its attempt; one that was read again takes the
-- place of the older one. $3 text: mapping; $4, $5 integer: chunk and piece; $6, $7 jsonb: the keys it lies
-- between; $8 bigint: rows; $9 bigint: bytes; $10, $11 text: its SHA-256 and object; $12 bigint: the snapshot's
-- head; $13 integer: the round. In the transaction of note_progress.sql.
insert into offtake.job_chunk
       (job_id, mapping, chunk, piece, after_key, up_to_key, rows, bytes, sha256, object, sequence_id, round)
select $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
 where exists (select from offtake.job where job_id = $1 and attempt = $2 and leased_until is not null)
on conflict (job_id, mapping, chunk, piece) do update
   set after_key = excluded.after_key, up_to_key = excluded.up_to_key, rows = excluded.rows, bytes = excluded.bytes,
       sha256 = excluded.sha256, object = excluded.object, sequence_id = excluded.sequence_id, round = excluded.round,
       finished_at = now()

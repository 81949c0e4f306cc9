-- The parts of job $1 bigint that are in its store, in their order. Uses job_chunk_pkey.
select mapping, chunk, piece, after_key, up_to_key, rows, bytes, sha256, object, sequence_id
  from offtake.job_chunk where job_id = $1
 order by mapping, chunk, piece

-- Has the parts of job $1 bigint, attempt $2 bigint, read again that were read at the sequence id $3 bigint or later:
-- a table was truncated or rewritten under their snapshot, or their object is not what it was.
-- $4 text: only the part that has this object, or null.
update offtake.job_chunk c
   set sequence_id = -1
 where c.job_id = $1 and c.sequence_id >= $3 and ($4::text is null or c.object = $4)
   and exists (select from offtake.job where job_id = $1 and attempt = $2 and leased_until is not null)

-- Ends job $1 bigint while $2 bigint is still its attempt. $3 text: its last state; $4 text: the reason; $5 text: consistency;
-- $6 bigint, $7 bigint: the first and the last sequence id; $8 jsonb: its files; $9 bigint: milliseconds until
-- its files are deleted, or null: never. No row: it is another process's.
update offtake.job
   set state = $3, reason = $4, consistency = $5, from_sequence_id = $6, sequence_id = $7, files = $8,
       percent = case when $3 = 'completed' then 100 else percent end, mapping = null,
       leased_until = null, leased_by = null, finished_at = now(), updated_at = now(),
       expires_at = now() + $9::bigint * interval '1 millisecond'
 where job_id = $1 and attempt = $2 and leased_until is not null
returning job_id

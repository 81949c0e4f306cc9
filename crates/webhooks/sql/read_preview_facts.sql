-- What an event has beside its row, for a person who asks now. $1 tenant and $2 name of the webhook
-- (null: as if it had the id 0), $3 tenant at the source, $4 source table, $5 jsonb the key as in
-- row_key (null: none). Columns: webhook_id, generation, head, epoch, now (the source's clock: seconds
-- since 1970), now_text; sequence_id and captured_at of the key's newest change, null where the log
-- has none. Reads change_log_tenant backwards, at most 100 000 changes.
-- `offtake webhook test` and `preview` run it, and the daemon for a test over HTTP; in the transaction
-- that reads the row.
select coalesce(w.webhook_id, 0) as webhook_id, coalesce(w.generation, 0) as generation,
       (select sequence_id from offtake.log_head) as head,
       coalesce((select epoch_id::text from offtake.epoch order by started_at desc limit 1), '') as epoch,
       extract(epoch from clock.now)::float8 as now,
       to_char(clock.now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now_text,
       newest.sequence_id, to_char(newest.captured_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as captured_at
  from (select clock_timestamp() as now offset 0) clock
  left join offtake.webhook w on w.tenant_id = $1 and w.name = $2
  left join lateral (
       select l.sequence_id, l.captured_at
         from (select k.sequence_id, newest.captured_at
                 from (select *, sum(coalesce(key_count, 1)) over (order by sequence_id desc rows unbounded preceding) as keys_to_here
                         from (select sequence_id, captured_at, row_key, keys, key_count, key_column from offtake.change_log
                                where tenant_id = $3 and source_table = $4 order by sequence_id desc limit 100000) log) newest
                cross join lateral (
                      select newest.sequence_id, newest.row_key where newest.key_count is null
                       union all
                      select * from offtake.keys_of(newest.sequence_id, newest.key_count, newest.keys, newest.key_column)
                       where newest.key_count is not null and (newest.key_column is null or $5::jsonb ->> newest.key_column = any(newest.keys))) k
                where newest.keys_to_here - coalesce(newest.key_count, 1) < 100000 and k.row_key = $5::jsonb) l
        order by l.sequence_id desc
        limit 1) newest on true

-- How far re-copies are. $1 bigint[]: destinations. $2 text: the mapping; null: all. One row per
-- destination and mapping. waiting: no worker has begun the re-copy yet. backfilled: the copy is
-- complete. rows_done and rows_total: rows copied, and the estimate of all. obstacle: why it makes
-- no progress at present.
select d.tenant_id, d.name, m.mapping,
       exists (select from offtake.resync_request q where q.destination_id = d.destination_id and q.mapping = m.mapping) as waiting,
       coalesce(s.backfilled, false) as backfilled, coalesce(s.rows_done, 0) as rows_done, s.rows_total,
       coalesce(d.refused,
                case when d.paused_at is not null and (d.paused_until is null or d.paused_until > now())
                     then 'paused: ' || coalesce(d.pause_reason, 'no reason given') end,
                m.mapping || ': ' || s.error, case when d.consecutive_failures > 0 then d.last_error end) as obstacle
  from offtake.destination d
 cross join unnest(d.mappings) m (mapping)
  left join offtake.destination_mapping s on s.destination_id = d.destination_id and s.mapping = m.mapping
 where d.destination_id = any($1) and ($2::text is null or m.mapping = $2)
 order by d.tenant_id, d.name, m.mapping

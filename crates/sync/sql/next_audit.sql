-- Which copy of a claimed destination is compared next: one that is under way, and otherwise the
-- one that was audited the longest ago. One that could not be settled waits for the others. $1
-- destination, $2 attempt, $3 bigint: the period in milliseconds, $4 text[]: the mappings that the
-- daemon may compare. copy tells one copy of the mapping from the next. No row: nothing is due, or
-- another daemon has the destination.
select m.mapping, m.audit_progress as progress, m.backfill_started_at::text as copy, m.audited_at::text as audited, clock_timestamp()::text as now
  from offtake.audit a
  join offtake.auditable_mapping m using (destination_id)
 where a.destination_id = $1 and a.attempt = $2 and m.mapping = any($4)
   and m.audited_at <= now() - $3::bigint * interval '1 millisecond'
 order by coalesce((m.audit_progress ->> 'tries')::int, 0), m.audit_progress is null, m.audited_at, m.mapping
 limit 1

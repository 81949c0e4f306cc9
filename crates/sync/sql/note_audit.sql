-- Notes how far the audit of one copy came, or what it found, and extends the lease; only while the
-- attempt is still ours, the copy is the one that was compared, and nothing else was noted of it
-- meanwhile, by an audit or by a comparison that an operator asked for. $1 destination, $2 attempt, $3 mapping, $4 text: the copy, as next_audit.sql has it,
-- $5 jsonb: the progress that was read, $6 jsonb: the new one, null: the audit has ended, $7
-- bigint: differences, null: as before, $8 text: since when the copy is proved equal, null: as
-- before, $9 text: why it could not be compared, $10 bigint: the lease in milliseconds, $11 text:
-- audited_at as it was read. What an earlier audit has found stands until this one has ended, or has
-- found more. Returns a row where it was noted, with the differences that stood there before.
with mine as (
  update offtake.audit set leased_until = now() + $10::bigint * interval '1 millisecond', failures = 0
   where destination_id = $1 and attempt = $2
  returning destination_id
), before as materialized (
  select m.differences, case when $6::jsonb is null then coalesce($7::bigint, m.differences) else greatest(m.differences, $7::bigint) end as now
    from offtake.destination_mapping m where m.destination_id = $1 and m.mapping = $3
)
update offtake.destination_mapping m
   set audit_progress = $6, audit_error = case when $6::jsonb is null then $9::text else m.audit_error end,
       audited_at = case when $6::jsonb is null then now() else m.audited_at end,
       verified_at = coalesce($8::text::timestamptz, m.verified_at),
       differences = before.now,
       audit_untold = m.audit_untold or $8::text is not null or m.differences is distinct from before.now
  from mine, before
 where m.destination_id = mine.destination_id and m.mapping = $3 and m.backfilled
   and m.backfill_started_at is not distinct from $4::text::timestamptz and m.audit_progress is not distinct from $5
   and m.audited_at is not distinct from $11::text::timestamptz
returning before.differences

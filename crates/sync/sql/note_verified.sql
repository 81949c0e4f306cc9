-- A comparison that an operator asked for found a copy equal to its query. $1 tenant, $2 the
-- destination's name, $3 mapping, $4 text: when the comparison began. Ends what an audit of the
-- copy had found until now. A copy that began later is another one.
update offtake.destination_mapping m
   set verified_at = greatest(m.verified_at, $4::text::timestamptz), differences = 0, audited_at = now(), audit_error = null,
       audit_progress = null, audit_untold = true
  from offtake.destination d
 where d.tenant_id = $1 and d.name = $2 and m.destination_id = d.destination_id and m.mapping = $3 and m.backfilled
   and (m.backfill_started_at is null or m.backfill_started_at <= $4::text::timestamptz)

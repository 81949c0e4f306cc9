-- The destination tells these audits now, or cannot. $1 destination, $2 text[] mappings, $3 text[]
-- verified_at and $4 bigint[] differences, as they were told: what was noted since is told later.
update offtake.destination_mapping m set audit_untold = false
  from unnest($2::text[], $3::text[], $4::bigint[]) t (mapping, verified_at, differences)
 where m.destination_id = $1 and m.mapping = t.mapping
   and m.verified_at is not distinct from t.verified_at::timestamptz and m.differences is not distinct from t.differences

-- What a destination's own state table does not tell yet. $1 destination.
select mapping, verified_at::text as verified_at, differences
  from offtake.destination_mapping where destination_id = $1 and audit_untold order by mapping

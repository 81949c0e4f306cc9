-- Quarantined rows are due now: of tenant $1, destination $2, mapping $3 (null: any). Their
-- destinations are owed a sync, and a worker that is there loses the request: it may have read what
-- was due before this. Returns how many rows.
with due as (
  update offtake.quarantined_row q set retry_at = now()
    from offtake.destination d
   where d.destination_id = q.destination_id and d.active
     and ($1::text is null or d.tenant_id = $1) and ($2::text is null or d.name = $2) and ($3::text is null or q.mapping = $3)
  returning q.destination_id
), owed as (
  insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
  select distinct 'sync', destination_id,
         (select sequence_id from offtake.log_head)
    from due
  on conflict (destination_id) where kind = 'sync' do update
     set not_before = now(), attempt = r.attempt + 1, leased_until = null, leased_by = null
)
select count(*) as rows from due

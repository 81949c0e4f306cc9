-- An operator asks that quarantined rows be tried again now: of tenant $1, destination $2, mapping
-- $3 (null: any), as far as their mappings are still the destinations'. Returns how many rows.
-- The admin side calls it; a transaction of its own, so that the rows are due and their
-- destinations are owed a sync together. A worker that has one of the destinations at the moment
-- may have read the due rows before this; it loses the lease here. Otherwise it could complete the
-- request without having tried them.
with due as (
  update offtake.quarantined_row q set retry_at = now()
    from offtake.destination d
   where d.destination_id = q.destination_id and d.active
     and q.mapping = any(d.mappings)
     and ($1::text is null or d.tenant_id = $1) and ($2::text is null or d.name = $2) and ($3::text is null or q.mapping = $3)
  returning q.destination_id
), owed as (
  insert into offtake.outgoing_request as r (kind, destination_id, wanted_sequence_id)
  select distinct 'sync', destination_id,
         (select sequence_id from offtake.log_head)
    from due
   order by destination_id
  on conflict (destination_id) where kind = 'sync' do update
     set not_before = now(), attempt = r.attempt + 1, leased_until = null, leased_by = null
)
select count(*) as rows from due

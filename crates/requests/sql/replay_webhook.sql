-- An operator asks that a webhook be told again what changed behind a sequence id: $1 webhook, $2 the
-- mapping, null: all; $3 bigint the sequence id after which to begin, $4 bigint where the replay ends,
-- null: at the cursor, which goes back; $5 boolean: with new ids. A worker that has the webhook at the
-- moment loses the lease, or it would set the cursor forward again. Without an end the cursors go
-- back, never forward. With an end they stay, and the stretch is told beside them. Returns the mappings
-- that are replayed.
-- The admin side calls it, after it has checked that the log goes back so far; a transaction of its
-- own.
with held as materialized (
  -- First, as a turn's own statements do: in another order the two could deadlock.
  select request_id from offtake.outgoing_request where kind = 'webhook' and webhook_id = $1 for update
), renewed as (
  update offtake.webhook set generation = generation + ($5::boolean)::int, updated_at = now(),
         sequence_id = case when $4::bigint is null then least(sequence_id, $3) else sequence_id end
   where (select count(*) from held) >= 0 and webhook_id = $1 and active and refused is null
  returning webhook_id, mappings, generation
), back as (
  update offtake.webhook_mapping m set sequence_id = least(m.sequence_id, $3), updated_at = now()
    from renewed w
   where $4::bigint is null and m.webhook_id = w.webhook_id and m.mapping = any(w.mappings) and ($2::text is null or m.mapping = $2)
  returning m.mapping
), aside as (
  insert into offtake.webhook_replay (webhook_id, mapping, after, up_to, generation)
  select w.webhook_id, m.mapping, $3, least($4::bigint, m.sequence_id), w.generation
    from renewed w join offtake.webhook_mapping m using (webhook_id)
   where $4::bigint > $3 and m.mapping = any(w.mappings) and ($2::text is null or m.mapping = $2)
  returning mapping
), owed as (
  insert into offtake.outgoing_request as r (kind, webhook_id, wanted_sequence_id)
  select 'webhook', webhook_id, (select sequence_id from offtake.log_head) from renewed
  on conflict (webhook_id) where kind = 'webhook' do update
     set wanted_sequence_id = greatest(r.wanted_sequence_id, excluded.wanted_sequence_id),
         not_before = case when r.failures = 0 then now() else r.not_before end,
         attempt = r.attempt + 1, leased_until = null, leased_by = null
)
select mapping from back union all select mapping from aside order by mapping

-- Moves the tenant's cursors. $1 tenant, $2 text[] mappings, $3 bigint[] sequence ids, $4 boolean[]
-- backfilled, $5 text[] backfill keys (JSON or null), $6 text[] epochs, $7 text[] versions. {state}
-- is the table. Every write calls it for all mappings that it wrote rows of, also where no cursor
-- moves: written, the transaction that wrote the row, then tells another worker that what it read
-- for its own write is older.
insert into {state} as s (tenant_id, mapping, sequence_id, backfilled, backfill_key, epoch, version, updated_at, served_at)
select $1, m.mapping, m.sequence_id, m.backfilled, m.backfill_key::jsonb, m.epoch::uuid, m.version, now(), now()
  from unnest($2::text[], $3::bigint[], $4::boolean[], $5::text[], $6::text[], $7::text[])
       m (mapping, sequence_id, backfilled, backfill_key, epoch, version)
 order by m.mapping
on conflict (tenant_id, mapping) do update
   set sequence_id = excluded.sequence_id, backfilled = excluded.backfilled, backfill_key = excluded.backfill_key,
       epoch = excluded.epoch, version = excluded.version, updated_at = excluded.updated_at, served_at = excluded.served_at
returning mapping::text, xmin::text as written

-- Moves one of the tenant's cursors. ?1 tenant, ?2 mapping, ?3 sequence id, ?4 backfilled, ?5 key
-- (JSON or null), ?6 epoch, ?7 version, ?8 the id of this write. Every write calls it for all
-- mappings that it wrote rows of, also where no cursor moves: the id then tells another worker that
-- what it read for its own write is older.
insert into "_offtake_state" as s
       (tenant_id, mapping, sequence_id, backfilled, backfill_key, epoch, version, write_id, updated_at, served_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
        strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00', strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00')
on conflict (tenant_id, mapping) do update
   set sequence_id = excluded.sequence_id, backfilled = excluded.backfilled, backfill_key = excluded.backfill_key,
       epoch = excluded.epoch, version = excluded.version, write_id = excluded.write_id,
       updated_at = excluded.updated_at, served_at = excluded.served_at

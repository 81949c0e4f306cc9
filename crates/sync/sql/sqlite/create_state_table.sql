-- The tenant can read here how fresh the copy is, which source serves it since when, and when it
-- was last proved equal to its query. Times are text as in the tables; write_id is another one after
-- every write.
create table if not exists "_offtake_state" (
  tenant_id       TEXT    NOT NULL,
  mapping         TEXT    NOT NULL,
  sequence_id     INTEGER NOT NULL,
  backfilled      INTEGER NOT NULL,
  backfill_key    TEXT,
  epoch           TEXT    NOT NULL,
  version         TEXT    NOT NULL,
  updated_at      TEXT    NOT NULL,
  write_id        TEXT    NOT NULL,
  source          TEXT,
  source_identity TEXT,
  served_since    TEXT,
  served_at       TEXT,
  verified_at     TEXT,
  differences     INTEGER,
  primary key (tenant_id, mapping)
) without rowid

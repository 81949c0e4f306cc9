-- Rows that a batch left out because a table does not take them. They are written with the batch,
-- and deleted once they are in the source's quarantine. Where a worker dies before
-- that, the next one copies the mapping again.
create table if not exists "_offtake_refused" (
  tenant_id TEXT    NOT NULL,
  mapping   TEXT    NOT NULL,
  write_id  TEXT    NOT NULL,
  line      INTEGER NOT NULL,
  primary key (tenant_id, mapping, write_id, line)
) without rowid

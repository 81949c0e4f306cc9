-- The tenant can read here how fresh the copy is, which source serves it since when, and when it
-- was last proved equal to its query. {state} is the table in the destination's schema.
create table if not exists {state} (
  tenant_id    text        not null,
  mapping      text        not null,
  sequence_id  bigint      not null,
  backfilled   boolean     not null,
  backfill_key jsonb,
  epoch        uuid        not null,
  version      text        not null,
  updated_at   timestamptz not null,
  source          text,
  source_identity jsonb,
  served_since    timestamptz,
  served_at       timestamptz,
  verified_at     timestamptz,
  differences     bigint,
  primary key (tenant_id, mapping)
) with (fillfactor = 50);
comment on table {state} is 'offtake: up to which change of the source each mapping of each tenant is applied here';

-- Tells the tenant what the latest comparison of each copy found; the caller holds the lock of the
-- tenant's rows. $1 tenant, $2 text[] mappings, $3 text[] since when each is proved equal, or null,
-- $4 bigint[] differences, or null. {state} is the state table. written: see move_cursors.sql.
update {state} s set verified_at = a.verified_at::timestamptz, differences = a.differences
  from unnest($2::text[], $3::text[], $4::bigint[]) a (mapping, verified_at, differences)
 where s.tenant_id = $1 and s.mapping = a.mapping
returning s.mapping::text, s.xmin::text as written

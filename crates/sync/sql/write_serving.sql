-- Names the source that serves this tenant from now on; the caller holds the lock of its rows. $1
-- tenant, $2 text the source's name, $3 text its identity as JSON. {state} is the state table.
update {state} s
   set source = $2, source_identity = $3::jsonb, served_at = now(),
       served_since = case when s.source = $2 then coalesce(s.served_since, now()) else now() end
 where tenant_id = $1
returning mapping::text, xmin::text as written

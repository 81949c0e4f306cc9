-- Captured changes that have no sequence id yet and concern one key, or may: $1 text the tenant as
-- the source prints it, $2 text the source table, $3 jsonb the key as the log has it. One row: the
-- changes of the key or of the whole table, and those of other tables that the tenant's rows may
-- depend on, which are looked up only when they are numbered.
-- Looks at the oldest 100 001 captured changes, through the primary key; no locks.
select count(*) filter (where of_key) as of_key, max(captured_at) filter (where of_key) as captured_at,
       count(*) filter (where source_table <> $2) as of_others
  from (select captured_at, source_table,
               source_table = $2 and case
                 when keys is not null and key_column is not null then ($3::jsonb ->> key_column) = any(keys)
                 when keys is not null then exists (select from unnest(keys) k where k::jsonb = $3)
                 when operation = 't' then true
                 else row_key = $3 end as of_key
          from (select source_table, tenant_id, captured_at, operation, row_key, keys, key_column
                  from offtake.captured_change order by capture_id limit 100001) c
         where tenant_id = $1 or tenant_id is null) c

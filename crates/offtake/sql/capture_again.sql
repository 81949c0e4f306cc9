-- Has keys looked at again, as if their rows had changed: $1 source table, $2 tenant, $3 jsonb[]
-- keys as the triggers write them. matched stays null: nothing that depends on these rows has
-- changed.
insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
select $1, 'c', $2, row_key from unnest($3::jsonb[]) row_key

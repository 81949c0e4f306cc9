-- Captures keys once more, as if their rows had changed. $1 source table, $2 tenant, $3 jsonb[] the
-- keys as the triggers write them. The column matched stays null, because rows that depend on these
-- need no refresh.
insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
select $1, 'c', $2, row_key from unnest($3::jsonb[]) row_key

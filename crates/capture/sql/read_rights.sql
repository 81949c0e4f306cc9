-- Whether the schema exists, and whether the role that owns the functions may do what they do.
select pg_catalog.to_regclass('offtake.captured_change') is not null as migrated,
       case when pg_catalog.to_regrole('offtake_capture') is null or pg_catalog.to_regclass('offtake.captured_change') is null then false
            else pg_catalog.has_schema_privilege('offtake_capture', 'offtake', 'usage')
                 and pg_catalog.has_table_privilege('offtake_capture', 'offtake.captured_change', 'insert')
       end as granted

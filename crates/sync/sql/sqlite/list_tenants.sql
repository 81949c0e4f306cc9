-- The tenants, other than ?1, that have cursors in the file; at most ?2.
select distinct tenant_id from "_offtake_state" where tenant_id <> ?1 order by tenant_id limit ?2

-- Tells the tenant what the latest comparison of one copy found. ?1 tenant, ?2 mapping, ?3 since
-- when it is proved equal, or null, ?4 differences, or null, ?5 the id of this write.
update "_offtake_state" set verified_at = ?3, differences = ?4, write_id = ?5
 where tenant_id = ?1 and mapping = ?2

-- Names the source that serves this tenant from now on. ?1 tenant, ?2 the source's name, ?3 its
-- identity as JSON, ?4 the id of this write.
update "_offtake_state"
   set source_identity = ?3, write_id = ?4, served_at = strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00',
       served_since = case when source = ?2 and served_since is not null then served_since
                           else strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00' end,
       source = ?2
 where tenant_id = ?1

-- The destinations among those of the placeholder (choose_unsettled.sql) that may be paused: every
-- one that is, and few others. Part of list_destinations.sql; no parameters.
select d.*
  from ({unsettled}) d
 where d.paused_at is not null
    or exists (select from offtake.fuse f
                where not f.enabled and (f.until is null or f.until > now())
                  and (f.name in ('tenant:' || d.tenant_id, 'destination:' || d.tenant_id || '/' || d.name)
                   or f.name like 'mapping:%' and substr(f.name, 9) = any(d.mappings)))

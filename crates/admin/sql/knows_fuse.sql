-- Whether there is something that a fuse of the name $1 (text) stops: an active destination or
-- webhook, a tenant or a mapping of one, or a fuse that was switched before. A tenant's id may have
-- a slash in it, and so may a name. Through the unique indexes (tenant_id, name); a mapping's name
-- is looked up among the counts of destinations, and reads webhooks until one is found.
select exists (select from offtake.fuse where name = $1)
    or $1 like 'tenant:%' and (
         exists (select from offtake.destination where tenant_id = substr($1, 8) and active)
      or exists (select from offtake.webhook where tenant_id = substr($1, 8) and active))
    or $1 like 'destination:%' and exists (
         select from generate_series(13, length($1)) slash
           join offtake.destination d on d.tenant_id = substr($1, 13, slash - 13) and d.name = substr($1, slash + 1)
          where substr($1, slash, 1) = '/' and d.active)
    or $1 like 'webhook:%' and exists (
         select from generate_series(9, length($1)) slash
           join offtake.webhook w on w.tenant_id = substr($1, 9, slash - 9) and w.name = substr($1, slash + 1)
          where substr($1, slash, 1) = '/' and w.active)
    or $1 like 'mapping:%' and (
         exists (select from offtake.destination_count where substr($1, 9) = any(mappings)
                  group by mappings having sum(destinations) > 0)
      or exists (select from offtake.webhook where active and substr($1, 9) = any(mappings))) as knows

-- The webhooks that the source's registry has, as the configuration of any daemon named them; versions:
-- what was told last of each of their mappings, in their order.
-- The registry calls it in its transaction, under its lock.
select w.webhook_id, w.tenant_id, w.name, w.mappings, w.source_tables, w.fingerprint, w.refused, w.incomplete,
       w.source_tenant_id,
       array(select m.version
               from unnest(w.mappings) with ordinality u (mapping, at)
               left join offtake.webhook_mapping m on m.webhook_id = w.webhook_id and m.mapping = u.mapping
              order by u.at) as versions
  from offtake.webhook w
 where w.active

//! Tables as they are after a bulk load.

/// 200 000 rows in each table, of 1 000 tenants and eight source tables, without ANALYZE. All but
/// the last 20 captured changes are numbered, the poller has seen all but the last 100 changes, and
/// 20 of 5 000 requests are due.
pub(crate) const FILL: &str = "
alter table offtake.change_log_0 set (autovacuum_enabled = false);
alter table offtake.captured_change set (autovacuum_enabled = false);
alter table offtake.outgoing_request set (autovacuum_enabled = false);
alter table offtake.destination set (autovacuum_enabled = false);
insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
select n, 'public.' || (array['project_user','team','contact_channel','tenancy','team_member','project_permission','invitation','other'])[1 + n % 8],
       't' || n % 1000, jsonb_build_object('id', n), n % 10 = 0, now()
  from generate_series(1, 200000) n;
select setval('offtake.global_sequence', 200000);
update offtake.poller_position set sequence_id = 199900;
insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
select 'public.team', 'c', 't' || n % 1000, jsonb_build_object('id', n) from generate_series(1, 200000) n;
insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables, sequence_id, last_success_at)
select 't' || n % 1000, 'd' || n / 1000, 'public', 'h', 5432, 'd', 'u', '{users,teams}', '{public.project_user,public.team}', 199900, now()
  from generate_series(1, 5000) n;
insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled)
select destination_id, unnest(mappings), 199900, true from offtake.destination;
insert into offtake.fan_out (source_table, sequence_id, destination_id) values ('public.team', 200000, 2000);
insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id, fanned_out, not_before)
select 'sync', destination_id, 1, true, now() + case when destination_id % 250 = 0 then interval '-1 s' else interval '1 h' end
  from offtake.destination;
alter table offtake.webhook set (autovacuum_enabled = false);
alter table offtake.webhook_mapping set (autovacuum_enabled = false);
alter table offtake.quarantined_event set (autovacuum_enabled = false);
insert into offtake.webhook (tenant_id, name, host, port, mappings, source_tables, fingerprint, sequence_id)
select 't' || n % 1000, 'w' || n / 1000, 'h', 443, '{users,teams}', '{public.project_user,public.team}', 'f', 199900
  from generate_series(1, 5000) n;
insert into offtake.webhook_mapping (webhook_id, mapping, sequence_id)
select webhook_id, unnest(mappings), 199900 from offtake.webhook;
insert into offtake.quarantined_event (webhook_id, mapping, row_key, sequence_id, captured_at, next_attempt_at, error)
select webhook_id, 'users', jsonb_build_object('id', webhook_id), 7, now(), now() + interval '1 h', 'e' from offtake.webhook;
insert into offtake.outgoing_request (kind, webhook_id, wanted_sequence_id, fanned_out, not_before)
select 'webhook', webhook_id, 1, true, now() + case when webhook_id % 250 = 0 then interval '-1 s' else interval '1 h' end
  from offtake.webhook;
alter table offtake.snapshot_schedule set (autovacuum_enabled = false);
alter table offtake.job set (autovacuum_enabled = false);
insert into offtake.snapshot_schedule (tenant_at_source, tenant_id, next_at)
select 't' || n, 't' || n, now() + case when n % 2000 = 0 then interval '-1 s' else interval '1 h' end from generate_series(1, 10000) n;
insert into offtake.job (public_id, kind, tenant_id, store, state)
select 'made_' || n, 'snapshot', 't' || n % 1000, 'disk', 'completed' from generate_series(1, 20000) n;
insert into offtake.job (public_id, kind, tenant_id, store) values ('snap_due', 'snapshot', 't7', 'disk');";

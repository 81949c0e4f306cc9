-- The continuous audit: when each copy was last proved equal to its query, and which daemon
-- compares a destination now. Daemons of the version before this one may go on running: they
-- neither read nor write any of it.

alter table offtake.destination_mapping
  add column verified_at    timestamptz,
  add column differences    bigint,
  add column audited_at     timestamptz not null default '-infinity',
  add column audit_error    text,
  add column audit_progress jsonb,
  add column audit_untold   boolean not null default false;
comment on column offtake.destination_mapping.verified_at is
  'When the latest comparison began that found the copy equal to its query. What was wrong there at that time would have been found.';
comment on column offtake.destination_mapping.differences is
  'Rows that the latest comparison found to differ; null: none has ended since the copy began.';
comment on column offtake.destination_mapping.audited_at is 'When the latest comparison ended, whatever it found; the oldest is next. -infinity: none has ended since the copy began.';
comment on column offtake.destination_mapping.audit_error is 'Why the latest audit could not compare the copy; null: it could.';
comment on column offtake.destination_mapping.audit_progress is
  'Where an audit that has not ended goes on: the key after which the next range begins, and what was found before it.';
comment on column offtake.destination_mapping.audit_untold is
  'The destination''s own _offtake_state does not tell verified_at and differences yet; a worker writes them there.';

-- Daemons ask every second what is due, and mostly nothing is.
create index destination_mapping_audited on offtake.destination_mapping (audited_at);

-- The poller's sweep looks for these every few seconds, and mostly there are none.
create index destination_mapping_untold on offtake.destination_mapping (destination_id) where audit_untold;

create table offtake.audit (
  destination_id bigint      primary key references offtake.destination on delete cascade,
  attempt        bigint      not null default 0,
  leased_until   timestamptz,
  leased_by      text,
  failures       integer     not null default 0,
  not_before     timestamptz not null default now()
) with (fillfactor = 70);
comment on table offtake.audit is
  'Which daemon audits a destination: one at a time. A row is made by the first audit of the destination.';
comment on column offtake.audit.attempt is 'Raised by every claim; an auditor whose lease ran out and was taken over writes nothing.';
comment on column offtake.audit.not_before is 'The next claim, after a failure or when the destination was behind.';

-- The copies that can be audited now: complete, and neither stopped, failing, nor about to be
-- copied again.
create view offtake.auditable_mapping as
  select m.destination_id, m.mapping, m.audited_at, m.audit_progress, m.backfill_started_at
    from offtake.destination d
    join offtake.destination_mapping m using (destination_id)
   where d.active and d.refused is null and d.consecutive_failures = 0
     and (d.paused_at is null or d.paused_until <= now())
     and m.mapping = any(d.mappings) and m.backfilled and m.error is null
     and not exists (select from offtake.resync_request q where q.destination_id = d.destination_id and q.mapping = m.mapping)
     and not exists (select from offtake.waiting_mapping w where w.destination_id = d.destination_id and w.mapping = m.mapping)
     and not exists (select from offtake.overlooked_mapping o where o.mapping = m.mapping)
     and not exists (select from offtake.fuse f
                      where not f.enabled and (f.until is null or f.until > now())
                        and f.name in ('sync', 'tenant:' || d.tenant_id, 'mapping:' || m.mapping,
                                       'destination:' || d.tenant_id || '/' || d.name));
comment on view offtake.auditable_mapping is 'One row per copy that the continuous audit may compare now.';

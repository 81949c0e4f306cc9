-- Exports that programs ask for over HTTP: a request that is sent twice makes one export, and a callback
-- tells how an export ended. Daemons of the version before this one may go on running: they send no
-- callbacks, and leave requests for them to the others.

alter table offtake.job
  add column request_sha256 text,
  add column callback jsonb;
comment on column offtake.job.idempotency_key is 'Chosen by the client that asked for the job; for a day, the same key makes no second one.';
comment on column offtake.job.request_sha256 is 'Of what the client asked for with its idempotency key. Another request with the same key is refused.';
comment on column offtake.job.callback is
  'How the last attempt to tell the job''s callback went: when, with which status, and whether it is delivered. Null: none was made.';

alter table offtake.outgoing_request
  add column job_id bigint references offtake.job on delete cascade,
  drop constraint outgoing_request_kind_check,
  add constraint outgoing_request_kind_check check (kind in ('sync', 'webhook', 'callback')),
  drop constraint outgoing_request_whose,
  add constraint outgoing_request_whose check (
    (kind = 'sync') = (destination_id is not null) and (kind = 'webhook') = (webhook_id is not null)
    and (kind = 'callback') = (job_id is not null));
create unique index outgoing_request_callback on offtake.outgoing_request (job_id) where kind = 'callback';
create index outgoing_callback_due on offtake.outgoing_request (not_before) where kind = 'callback';
comment on column offtake.outgoing_request.job_id is 'Of the kind callback: the job whose end is told. The row is made in the transaction that ends the job.';

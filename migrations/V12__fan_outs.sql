-- Changes that concern every destination are told page by page; and a fuller comment on what the
-- sequencer notes of a change that it continues.

create table offtake.fan_out (
  source_table     text   primary key,
  sequence_id      bigint not null,
  destination_id   bigint not null default 0,
  next_sequence_id bigint
);
comment on table offtake.fan_out is
  'A change without tenant of this table, of which the poller still owes a sync to some of the destinations that have the table.';
comment on column offtake.fan_out.sequence_id is 'What the destinations are told in this pass: that they are owed a sync up to here, at least.';
comment on column offtake.fan_out.destination_id is 'Destinations up to this one have been told in this pass.';
comment on column offtake.fan_out.next_sequence_id is
  'The newest change since the pass began; null: none. However many there are, they are told in one more pass.';

alter table offtake.outgoing_request add column fanned_out boolean not null default false;
comment on column offtake.outgoing_request.fanned_out is
  'Owed first because of a change that concerns every destination. So many of these wait at a time, and no more, so that other requests do not wait behind all of them.';

comment on column offtake.captured_change.resume is
  'For operation r: {"mapping": name, "waking": which of the mapping''s ways, "after": last expanded key, or null, '
  '"tenants": of a change that was handed on, the tenants (null: every tenant) that its rows led to, or null}.';

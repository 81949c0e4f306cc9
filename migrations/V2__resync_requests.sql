-- What operators ask of a destination's copy, until a worker has taken it up there.

create table offtake.resync_request (
  resync_id      bigint      generated always as identity primary key,
  destination_id bigint      not null references offtake.destination on delete cascade,
  mapping        text        not null,
  requested_at   timestamptz not null default now()
);
create index resync_request_destination on offtake.resync_request (destination_id);
comment on table offtake.resync_request is
  'One mapping of one destination is to be copied anew, in place. Deleted once the destination''s own cursor says so: a worker that '
  'dies in between begins that copy once more, and no request is lost.';

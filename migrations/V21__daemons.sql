-- Which daemons run, told to people. No daemon decides anything by it. Daemons of the version before
-- this one may go on running: they do not know the table, and are not listed.

create table offtake.daemon (
  process    text        primary key,
  version    text        not null,
  host       text        not null,
  listen     text        not null,
  started_at timestamptz not null default now(),
  seen_at    timestamptz not null default now()
) with (fillfactor = 50);
comment on table offtake.daemon is
  'A daemon that runs, or ended without a word in the last hour. Each daemon updates its own row every ten seconds, and deletes it when it ends.';
comment on column offtake.daemon.process is 'The process id, and random digits that tell this start from every other one.';
comment on column offtake.daemon.host is 'The machine''s or the container''s own name.';
comment on column offtake.daemon.listen is 'http.listen, as the kernel has bound it.';
comment on column offtake.daemon.seen_at is 'By the source''s clock. A daemon that was not seen for 60 seconds hangs, has ended, or cannot reach the source.';

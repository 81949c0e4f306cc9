-- When a destination is looked at for a visit, apart from when it last succeeded. Each success changed a
-- column of an index, so that every write of a destination's row wrote into four indexes. Daemons of the
-- version before this one may go on running: their sweep reads all destinations to find those to visit.

-- Those that are registered already are looked at soon; of a new one nothing can be old so soon.
alter table offtake.destination add column visit_at timestamptz not null default now();
alter table offtake.destination alter column visit_at set default now() + interval '10 minutes';
comment on column offtake.destination.visit_at is
  'When it is next looked at for a visit, which it then has unless it succeeded meanwhile.';
drop index offtake.destination_visited;
create index destination_visited on offtake.destination (shared, (kind = 'd1'), visit_at);

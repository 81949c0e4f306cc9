-- What a daemon's start has to know so that it need not visit every destination: which version of
-- its mapping a copy was last written with. And visits of destinations that have a database of their
-- own are found without reading those that share one. Daemons of the version before this one may go
-- on running.

alter table offtake.destination_mapping add column version text, add column version_at timestamptz;
comment on column offtake.destination_mapping.version is
  'The version of the mapping that the copy was written with, if version_at is updated_at. Written with every mirror of a commit.';
comment on column offtake.destination_mapping.version_at is
  'Equals updated_at as long as version says what the copy is: a daemon that does not know the column moves updated_at only.';

drop index offtake.destination_visited;
create index destination_visited on offtake.destination (shared, last_success_at);

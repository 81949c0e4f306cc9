-- A tenant that left. Daemons of the version before this one may go on running: they neither read
-- nor write it. While an operator forgets a destination, such a daemon may register it again.

alter table offtake.destination add column forget_requested_at timestamptz;
comment on column offtake.destination.forget_requested_at is
  'An operator ends what is kept of this destination: no daemon writes to it any more. The row is '
  'deleted when that is done; where the command was interrupted, it is run again. Null: it is kept.';

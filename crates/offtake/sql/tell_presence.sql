-- Says that a daemon runs: process $1, version $2, host $3, listens at $4 (each text). Its first row
-- begins with this; rows of daemons that were not seen for an hour go. The primary key finds the row;
-- the table has as many rows as there are daemons.
with gone as (
  delete from offtake.daemon where seen_at < now() - interval '1 hour'
)
insert into offtake.daemon (process, version, host, listen) values ($1, $2, $3, $4)
    on conflict (process) do update set seen_at = now()

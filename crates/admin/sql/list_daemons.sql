-- The daemons that run, the oldest first; and those that ended without a word in the last hour. Times
-- are the source's, and so is the judgement which of them runs. No parameters.
select process, version, host, listen, started_at, seen_at, seen_at > now() - interval '60 s' as running
  from offtake.daemon
 order by started_at, process

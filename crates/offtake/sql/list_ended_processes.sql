-- Processes that claimed requests and neither finished nor extended them for a minute: they ended,
-- or hang. At most ten, with how many requests each holds and until when. Reads the requests that are
-- owed.
select coalesce(leased_by, 'unknown') as process, count(*) as requests, max(leased_until) as until
  from offtake.outgoing_request
 where leased_until < now() - interval '1 minute'
 group by 1
 order by 3 desc
 limit 10

-- How many jobs of a kind wait for a daemon or are worked on by one. $1 text: the kind. Uses job_due.
select count(*) from offtake.job
 where kind = $1 and store is not null and state in ('accepted', 'processing', 'paused', 'settling')

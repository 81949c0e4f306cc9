-- Runs at a destination: deletes at most {rows} of the rows of table {table} that meet {condition}:
-- those of one tenant. Uses the primary key's index, which begins with the tenant. Repeated until
-- nothing is left, each time in a transaction of its own, so that no lock is held for long.
delete from only {table} t where t.ctid = any (array(select t.ctid from only {table} t where {condition} limit {rows}))

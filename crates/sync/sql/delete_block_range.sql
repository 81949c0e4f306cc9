-- Runs at a destination: deletes the rows of table {table} in its blocks from {from} to before
-- {to}. Repeated range by range, each time in a transaction of its own, so that a large table is
-- read once and no lock is held for long.
delete from only {table} t where t.ctid >= '({from},0)'::tid and t.ctid < '({to},0)'::tid

-- An operator says that this source serves destinations ($1 bigint[]) from now on, whichever source
-- served them before. The next worker that visits one of them reads it. One row per destination, by
-- key, locked in the order of their ids, as all statements that write many destinations do.
with held as materialized (
  select destination_id from offtake.destination where destination_id = any($1) order by destination_id for no key update
)
update offtake.destination d set adopt_requested_at = now() from held where d.destination_id = held.destination_id and active

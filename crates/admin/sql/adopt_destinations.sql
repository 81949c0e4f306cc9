-- An operator says that this source serves destinations ($1 bigint[]) from now on, whichever source
-- served them before. The next worker that visits one of them reads it. One row per destination, by
-- key.
update offtake.destination set adopt_requested_at = now() where destination_id = any($1) and active

-- Whether workers are kept away from a destination, for a restore. $1 bigint: the destination.
-- paused: no worker claims it; ends: the pause ends by itself; reason: of the pause; leased: a
-- worker has its request now. By primary key and by the unique index of outgoing_request on the
-- destination; locks nothing.
select d.paused_at is not null and (d.paused_until is null or d.paused_until > now()) as paused,
       d.paused_until is not null as ends, coalesce(d.pause_reason, '') as reason,
       exists (select from offtake.outgoing_request r
                where r.destination_id = d.destination_id and r.leased_until > now()) as leased
  from offtake.destination d
 where d.destination_id = $1

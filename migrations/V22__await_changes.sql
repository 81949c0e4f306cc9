-- The sequencer waits at the source for the next captured change. A question every few milliseconds from
-- outside cost more than all the rest of an idle daemon: each wakes two processes twice.

create function offtake.await_changes(after bigint, known bigint, pause double precision, most double precision,
                                      look_back_every double precision, look_back_share double precision,
                                      inout look_back_in double precision, out captured boolean, out last_sequence_id bigint, out from_start boolean)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  waited double precision := 0;
  began timestamptz;
begin
  loop
    from_start := waited >= look_back_in;
    began := clock_timestamp();
    select (select capture_id from offtake.captured_change where capture_id > case when from_start then 0 else after end order by capture_id limit 1)
           is not null,
           (select last_value from offtake.global_sequence)
      into captured, last_sequence_id;
    if from_start then
      look_back_in := waited + least(greatest(look_back_every, look_back_share * extract(epoch from clock_timestamp() - began)), 60);
    end if;
    exit when captured or last_sequence_id <> known or waited >= most;
    perform pg_sleep(greatest(pause, 0.0005));
    waited := waited + greatest(pause, 0.0005);
  end loop;
  look_back_in := greatest(look_back_in - waited, 0);
end
$$;
comment on function offtake.await_changes is
  'Returns as soon as there is a captured change with a capture id greater than `after`, or the last sequence id is not `known`; after `most` '
  'seconds at the latest. Looks every `pause` seconds; from the smallest capture id first after `look_back_in` seconds, then every `look_back_every`, or less '
  'often: each such look is `look_back_share` times as far from the next one as it is long. Returns what it saw, whether the last look was one from '
  'the smallest id, and when the next such look is due.';

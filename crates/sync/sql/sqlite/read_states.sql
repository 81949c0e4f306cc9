-- The tenant's cursors. ?1 tenant. The tenant may have altered the table: what is not there is a
-- cursor that stands nowhere, and the copy begins again.
select mapping, coalesce(cast(sequence_id as INTEGER), -1), coalesce(backfilled <> 0, 0),
       cast(backfill_key as TEXT), coalesce(cast(epoch as TEXT), ''), coalesce(cast(version as TEXT), ''),
       coalesce(cast(write_id as TEXT), '')
  from "_offtake_state"
 where tenant_id = ?1 and mapping is not null
 order by mapping

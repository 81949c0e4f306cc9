-- The migrations that were applied to this source, in their order, named as the program's own list
-- names them. Fails where the table is missing, so ask to_regclass first.
select 'V' || version || '__' || name as migration from offtake.migration order by version

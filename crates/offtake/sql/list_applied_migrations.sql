-- The migrations that this source has, named as our own list names them. Needs the table: ask to_regclass first.
select 'V' || version || '__' || name as migration from offtake.migration

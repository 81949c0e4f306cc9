-- Nothing is ever kept here. A statement of a batch that inserts a row breaks a constraint, whose name
-- says why, and the whole batch is rolled back.
create table if not exists "_offtake_guard" (
  stale    INTEGER constraint offtake_stale check (stale is null),
  replaced INTEGER constraint offtake_replaced check (replaced is null),
  trigger_ INTEGER constraint offtake_trigger check (trigger_ is null),
  refusals INTEGER constraint offtake_refusals check (refusals is null),
  probe    INTEGER constraint offtake_probe check (probe is null)
)

-- Postgres parses a CHECK constraint again in every statement that inserts, so this one cost each
-- of the application's writes a sixth of what capturing costs. Only the capture functions and the
-- sequencer insert here.

alter table offtake.captured_change drop constraint captured_change_operation_check;

-- Drops the role. Keeps it if capture functions of another database of the cluster still belong to
-- it, or if the current role may not drop it.
do $offtake$
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'offtake_capture') then
    drop role offtake_capture;
  end if;
exception
  when dependent_objects_still_exist or insufficient_privilege then null;
end
$offtake$;

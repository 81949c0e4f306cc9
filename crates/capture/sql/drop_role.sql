-- Drops the role, unless capture functions of another database of the cluster still belong to it,
-- or this role may not.
do $offtake$
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'offtake_capture') then
    drop role offtake_capture;
  end if;
exception
  when dependent_objects_still_exist or insufficient_privilege then null;
end
$offtake$;

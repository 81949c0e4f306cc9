-- Drops the role {role}. Keeps it if capture functions of another database of the cluster still
-- belong to it, or if the current role may not drop it.
do $offtake$
begin
  if exists (select from pg_catalog.pg_roles where rolname = '{role}') then
    drop role {role};
  end if;
exception
  when dependent_objects_still_exist or insufficient_privilege then null;
end
$offtake$;

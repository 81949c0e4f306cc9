-- Takes its rights in this database from the role offtake_capture, which older versions shared
-- between all databases of the cluster. drop_role.sql follows.
do $offtake$
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'offtake_capture') then
    revoke all on offtake.captured_change from offtake_capture;
    revoke all on schema offtake from offtake_capture;
  end if;
end
$offtake$;

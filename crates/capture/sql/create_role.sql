-- The role that owns the capture functions of this database: it cannot log in, and can do nothing
-- but append captured changes. Roles belong to the whole cluster, so each database has one of its
-- own ({role}, see read_rights.sql). Safe to run again.
do $offtake$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = '{role}') then
    create role {role} nologin;
  end if;
  if exists (select from pg_catalog.pg_roles where rolname = '{role}' and (rolcanlogin or rolsuper)) then
    raise exception 'the role {role} may log in or is a superuser, so capture functions must not run as it'
      using hint = 'alter role {role} nologin nosuperuser';
  end if;
  if not pg_catalog.pg_has_role(current_user, '{role}', 'usage') then
    grant {role} to current_user;
  end if;
end
$offtake$;
grant usage on schema offtake to {role};
grant insert on offtake.captured_change to {role};

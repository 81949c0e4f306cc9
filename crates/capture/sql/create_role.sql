-- The role that owns the capture functions: it cannot log in, and can do nothing but append
-- captured changes. Roles belong to the whole cluster, so another database may have created it
-- already. Safe to run again.
do $offtake$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'offtake_capture') then
    create role offtake_capture nologin;
  end if;
  if exists (select from pg_catalog.pg_roles where rolname = 'offtake_capture' and (rolcanlogin or rolsuper)) then
    raise exception 'the role offtake_capture may log in or is a superuser, so capture functions must not run as it'
      using hint = 'alter role offtake_capture nologin nosuperuser';
  end if;
  if not pg_catalog.pg_has_role(current_user, 'offtake_capture', 'usage') then
    grant offtake_capture to current_user;
  end if;
end
$offtake$;
grant usage on schema offtake to offtake_capture;
grant insert on offtake.captured_change to offtake_capture;

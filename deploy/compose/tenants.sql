-- The two customers of the trial. Their ids are in offtake.yaml beside this file.
insert into public.tenancy (id, project_id, branch_id, display_name)
values (md5('acme')::uuid, 'acme', 'main', 'Acme'), (md5('globex')::uuid, 'globex', 'main', 'Globex');

insert into public.project_user (tenancy_id, project_user_id, display_name, is_anonymous)
select t.id, md5(t.project_id || ' user ' || n)::uuid, 'User ' || n, n % 10 = 0
  from public.tenancy t, generate_series(1, 1000) n;

insert into public.contact_channel (tenancy_id, project_user_id, type, value, is_primary)
select u.tenancy_id, u.project_user_id, 'email', 'user-' || left(u.project_user_id::text, 8) || '@example.com', true
  from public.project_user u;

insert into public.team (tenancy_id, team_id, display_name)
select t.id, md5(t.project_id || ' team ' || n)::uuid, 'Team ' || n
  from public.tenancy t, generate_series(1, 20) n;

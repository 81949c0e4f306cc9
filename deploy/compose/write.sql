-- A few writes of the sample application, again and again: someone signs up, someone's name and
-- address change, someone leaves.
do $$
declare
  tenant uuid := (array[md5('acme')::uuid, md5('globex')::uuid])[1 + (random() < 0.5)::int];
  place uuid := gen_random_uuid();
  someone uuid := (select project_user_id from public.project_user
                    where tenancy_id = tenant and project_user_id >= place
                    order by project_user_id limit 1);
begin
  with new_user as (
    insert into public.project_user (tenancy_id, project_user_id, display_name)
    values (tenant, place, 'User since ' || to_char(now(), 'HH24:MI:SS'))
    returning tenancy_id, project_user_id
  )
  insert into public.contact_channel (tenancy_id, project_user_id, type, value, is_primary)
  select tenancy_id, project_user_id, 'email', 'new-' || left(place::text, 8) || '@example.com', true
    from new_user;
  update public.project_user set display_name = display_name || '.'
   where tenancy_id = tenant and project_user_id = someone and length(display_name) < 60;
  update public.contact_channel set value = 'changed-' || left(place::text, 8) || '@example.com'
   where tenancy_id = tenant and project_user_id = someone and is_primary;
  -- As many leave as sign up, so that the tables stay small.
  delete from public.project_user
   where tenancy_id = tenant
     and project_user_id = (select project_user_id from public.project_user
                             where tenancy_id = tenant and project_user_id < place
                             order by project_user_id desc limit 1);
end
$$ \watch 0.2

-- The write load on the sample application: what its users do all day. Each kind of write comes as
-- often as its weight says.
--
-- Every kind begins with a line `-- kind: name, weight`. Several statements of one kind are one
-- transaction. A kind that ends with `rollback` leaves nothing behind. All kinds take the same
-- parameters, as text except $4:
--   $1  the tenancy that acts       $2  another tenancy (the same if there is only one)
--   $3  a random uuid: a place in the key space        $4  bigint: a random number below 1 000 000
--   $5  a new uuid
-- {user}, {team} and {invitation} stand for a sub-select: the first user, team or invitation of the
-- tenancy at or after the place $3, or null. All sub-selects and WHERE clauses find their rows by
-- index, so that the load costs the source little besides the writes.

-- kind: sign up, 140
with new_user as (
  insert into public.project_user (tenancy_id, project_user_id, display_name, is_anonymous, profile)
  values ($1::uuid, $5::uuid, 'User ' || $4, $4 % 5 = 0, jsonb_build_object('visits', 0, 'labels', jsonb_build_array('new', $4)))
)
insert into public.contact_channel (tenancy_id, project_user_id, id, type, value, is_primary)
values ($1::uuid, $5::uuid, md5($5)::uuid, 'email', 'user' || $4 || '@example.com', true);

-- kind: rename user, 120
update public.project_user set display_name = 'User ' || $4 || ' “ü🦀”'
 where tenancy_id = $1::uuid and project_user_id = {user};

-- kind: visit, 100
update public.project_user
   set profile = profile || jsonb_build_object('visits', coalesce((profile ->> 'visits')::bigint, 0) + 1, 'last', $4 / 7.0)
 where tenancy_id = $1::uuid and project_user_id = {user};

-- kind: become known or anonymous, 40
update public.project_user set is_anonymous = not is_anonymous
 where tenancy_id = $1::uuid and project_user_id = {user};

-- kind: change e-mail address, 80
update public.contact_channel set value = 'changed' || $4 || '@example.com', is_verified = false
 where tenancy_id = $1::uuid and project_user_id = {user} and type = 'email' and is_primary;

-- kind: verify address, 40
update public.contact_channel set is_verified = true
 where tenancy_id = $1::uuid and project_user_id = {user};

-- kind: add phone, 30
insert into public.contact_channel (tenancy_id, project_user_id, id, type, value)
select $1::uuid, picked, $5::uuid, 'phone', '+49 30 ' || $4 from (select {user} as picked) p where picked is not null;

-- kind: drop phones, 20
delete from public.contact_channel where tenancy_id = $1::uuid and project_user_id = {user} and type = 'phone';

-- kind: switch primary e-mail address, 20
update public.contact_channel set is_primary = false
 where tenancy_id = $1::uuid and project_user_id = {user} and type = 'email' and is_primary;
insert into public.contact_channel (tenancy_id, project_user_id, id, type, value, is_primary)
select $1::uuid, picked, $5::uuid, 'email', 'primary' || $4 || '@example.com', true from (select {user} as picked) p where picked is not null;

-- kind: found team, 30
insert into public.team (tenancy_id, team_id, display_name, tags, monthly_budget)
values ($1::uuid, $5::uuid, 'Team ' || $4, array['a,b', '"quoted"', null, $4::text], $4 / 3.0);

-- kind: rename team, 50
update public.team set display_name = 'Team ' || $4 where tenancy_id = $1::uuid and team_id = {team};

-- kind: set budget, 20
update public.team set monthly_budget = case when $4 % 10 = 0 then 'NaN' else $4 * 1.0001 end
 where tenancy_id = $1::uuid and team_id = {team};

-- kind: join team, 80
insert into public.team_member (tenancy_id, project_user_id, team_id)
select $1::uuid, the_user, the_team from (select {user} as the_user, {team} as the_team) p
 where the_user is not null and the_team is not null
on conflict do nothing;

-- kind: leave teams, 40
delete from public.team_member where tenancy_id = $1::uuid and project_user_id = {user};

-- kind: grant permission, 50
insert into public.permission (tenancy_id, project_user_id, team_id, permission_id)
select $1::uuid, the_user, case when $4 % 2 = 0 then the_team end, 'may-' || $4 % 9
  from (select {user} as the_user, {team} as the_team) p;

-- kind: revoke permissions, 30
delete from public.permission where tenancy_id = $1::uuid and project_user_id = {user};

-- kind: invite, 50
insert into public.invitation (id, project_id, branch_id, data, expires_at)
select $5::uuid, t.project_id, t.branch_id, jsonb_build_object('team_id', {team}, 'recipient', 'guest' || $4 || '@example.com'),
       case when $4 % 20 = 0 then 'infinity' else now() + interval '7 days' end
  from public.tenancy t where t.id = $1::uuid;

-- kind: invite into another team, 20
update public.invitation set data = data || jsonb_build_object('team_id', {team}) where id = {invitation};

-- kind: withdraw invitation, 30
delete from public.invitation where id = {invitation};

-- kind: delete user (cascades), 30
delete from public.project_user where tenancy_id = $1::uuid and project_user_id = {user};

-- kind: delete team (cascades), 10
delete from public.team where tenancy_id = $1::uuid and team_id = {team};

-- kind: give user another key (cascades), 10
update public.project_user set project_user_id = $5::uuid where tenancy_id = $1::uuid and project_user_id = {user};

-- kind: give team another key (cascades), 10
update public.team set team_id = $5::uuid where tenancy_id = $1::uuid and team_id = {team};

-- kind: give phones to another user, 10
update public.contact_channel set project_user_id = {user}
 where tenancy_id = $1::uuid and type = 'phone' and not is_primary and {user} is not null
   and project_user_id = (select u.project_user_id from public.project_user u
                           where u.tenancy_id = $1::uuid and u.project_user_id >= md5($3)::uuid order by 1 limit 1);

-- kind: move user to another tenancy, 10
delete from public.team_member where tenancy_id = $1::uuid and project_user_id = {user};
delete from public.permission where tenancy_id = $1::uuid and project_user_id = {user} and team_id is not null;
-- A user whose key is taken in the other tenancy stays.
update public.project_user u set tenancy_id = $2::uuid
 where tenancy_id = $1::uuid and project_user_id = {user}
   and not exists (select from public.project_user o where o.tenancy_id = $2::uuid and o.project_user_id = u.project_user_id);

-- kind: move team to another tenancy, 5
delete from public.team_member where tenancy_id = $1::uuid and team_id = {team};
delete from public.permission where tenancy_id = $1::uuid and team_id = {team} and project_user_id is not null;
update public.team set tenancy_id = $2::uuid where tenancy_id = $1::uuid and team_id = {team};

-- kind: move invitation to another tenancy, 10
update public.invitation i set project_id = t.project_id, branch_id = t.branch_id
  from public.tenancy t
 where t.id = $2::uuid and i.id = {invitation};

-- kind: delete user and make it again, 10
delete from public.project_user where tenancy_id = $1::uuid and project_user_id = md5('phoenix ' || $4 % 20)::uuid;
insert into public.project_user (tenancy_id, project_user_id, display_name)
values ($1::uuid, md5('phoenix ' || $4 % 20)::uuid, 'Phoenix ' || $4);

-- kind: make user or rename it, 10
insert into public.project_user (tenancy_id, project_user_id, display_name)
values ($1::uuid, md5('phoenix ' || $4 % 20)::uuid, 'Phoenix ' || $4)
on conflict (tenancy_id, project_user_id) do update set display_name = excluded.display_name;

-- kind: change the mind, 10
update public.team set display_name = 'never seen' where tenancy_id = $1::uuid and team_id >= $3::uuid;
delete from public.project_user where tenancy_id = $1::uuid and project_user_id = {user};
rollback;

-- kind: change half of the mind, 5
update public.project_user set display_name = 'Kept ' || $4 where tenancy_id = $1::uuid and project_user_id = {user};
savepoint half;
delete from public.project_user where tenancy_id = $1::uuid and project_user_id = {user};
rollback to savepoint half;

-- kind: rename tenancy, 3
update public.tenancy set display_name = 'Tenancy ' || $4 where id = $1::uuid;

-- kind: rename branch (cascades), 2
update public.tenancy set branch_id = 'branch-' || $4 where id = $1::uuid;

-- kind: count visits in bulk, 3
update public.project_user set profile = profile || jsonb_build_object('counted', $4)
 where tenancy_id = $1::uuid
   and project_user_id in (select u.project_user_id from public.project_user u
                            where u.tenancy_id = $1::uuid and u.project_user_id >= $3::uuid order by 1 limit 500);

-- kind: import users in bulk, 2
insert into public.project_user (tenancy_id, project_user_id, display_name, is_anonymous)
select $1::uuid, md5($5 || n)::uuid, 'Imported ' || n, n % 2 = 0 from generate_series(1, 200) n;

-- kind: clear anonymous users in bulk, 4
delete from public.project_user
 where tenancy_id = $1::uuid and is_anonymous
   and project_user_id in (select u.project_user_id from public.project_user u
                            where u.tenancy_id = $1::uuid and u.project_user_id >= $3::uuid order by 1 limit 400);

-- kind: close old teams in bulk, 3
delete from public.team
 where tenancy_id = $1::uuid
   and team_id in (select t.team_id from public.team t where t.tenancy_id = $1::uuid and t.team_id >= $3::uuid order by 1 limit 10);

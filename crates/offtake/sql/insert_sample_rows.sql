-- Rows for the initial copy to find. Every tenancy without users gets $1 (integer) users with their
-- e-mail addresses, every tenth of them anonymous; a team for every eighth user; members,
-- permissions, and two invitations per team. One statement; returns the number of tenancies that
-- got rows.
with filled as (
  select t.id as tenancy_id, t.project_id, t.branch_id
    from public.tenancy t
   where not exists (select from public.project_user u where u.tenancy_id = t.id)
), users as (
  insert into public.project_user (tenancy_id, display_name, is_anonymous, profile, signed_up_at)
  select f.tenancy_id, 'User ' || n, n % 10 = 0,
         jsonb_build_object('locale', (array['en', 'de', 'ja', 'pt'])[1 + n % 4], 'visits', n * 7, 'labels', jsonb_build_array('trial', n)),
         now() - make_interval(mins => n)
    from filled f, generate_series(1, $1::integer) n
  returning tenancy_id, project_user_id, display_name
), teams as (
  insert into public.team (tenancy_id, display_name, tags, monthly_budget)
  select f.tenancy_id, 'Team ' || n, array['sample', 'no ' || n], n * 1234.5678
    from filled f, generate_series(1, greatest($1::integer / 8, 1)) n
  returning tenancy_id, team_id, display_name
), numbered_users as (
  select u.*, substr(display_name, 6)::integer as n from users u
), numbered_teams as (
  select t.*, substr(display_name, 6)::integer as n from teams t
), emails as (
  insert into public.contact_channel (tenancy_id, project_user_id, type, value, is_primary, is_verified)
  select tenancy_id, project_user_id, 'email', 'user' || n || '@example.com', true, n % 3 > 0 from numbered_users
), phones as (
  insert into public.contact_channel (tenancy_id, project_user_id, type, value, is_primary)
  select tenancy_id, project_user_id, 'phone', '+49 30 ' || 100000 + n, n % 2 = 0 from numbered_users where n % 3 = 0
), members as (
  insert into public.team_member (tenancy_id, project_user_id, team_id)
  select u.tenancy_id, u.project_user_id, t.team_id
    from numbered_users u
    join numbered_teams t on t.tenancy_id = u.tenancy_id and t.n in (1 + u.n % greatest($1::integer / 8, 1), 1)
), permissions as (
  insert into public.permission (tenancy_id, project_user_id, team_id, permission_id)
  select tenancy_id, project_user_id, null, 'read' from numbered_users where n % 2 = 0
  union all
  select tenancy_id, null, team_id, 'write' from numbered_teams
), invitations as (
  insert into public.invitation (project_id, branch_id, method, data, expires_at)
  select f.project_id, f.branch_id, method, jsonb_build_object('team_id', t.team_id, 'recipient', 'guest' || t.n || '@example.com'), now() + interval '7 days'
    from numbered_teams t
    join filled f using (tenancy_id)
   cross join unnest(array['email', 'link']) method
)
select count(*) from filled

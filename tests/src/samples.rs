//! Small mappings, for tests that are about something else.

/// Of the sample application's users: a name each.
pub const USERS: &str = "\
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: select tenancy_id as tenant_id, project_user_id as id, display_name from public.project_user
target: { table: users }
";

/// Of its teams, with a query of several lines, for whoever looks for one of them.
pub const TEAMS: &str = "\
source: { table: public.team, tenant: tenancy_id, key: { id: team_id } }
query: |
  select t.tenancy_id as tenant_id, t.team_id as id, t.display_name
    from public.team t
target: { table: teams }
";

/// Of the table `item` that [`World::with_items`](crate::World::with_items) makes: its name alone.
pub const NAMES: &str = "\
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.name from public.item i
target: { table: names }
";

/// Of the table `other` beside it.
pub const OTHERS: &str = "\
source: { table: public.other, tenant: tenant, key: { id: id } }
query: select o.tenant as tenant_id, o.id, o.body from public.other o
target: { table: others }
";

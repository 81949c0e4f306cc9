//! Small mappings, for tests that need any mapping.

/// The names of the sample application's users.
pub const USERS: &str = "\
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: select tenancy_id as tenant_id, project_user_id as id, display_name from public.project_user
target: { table: users }
";

/// The sample application's teams, with a query of several lines, for tests that look for one line.
pub const TEAMS: &str = "\
source: { table: public.team, tenant: tenancy_id, key: { id: team_id } }
query: |
  select t.tenancy_id as tenant_id, t.team_id as id, t.display_name
    from public.team t
target: { table: teams }
";

/// Only the name of the table `item` that [`World::with_items`](crate::World::with_items) creates.
pub const NAMES: &str = "\
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.name from public.item i
target: { table: names }
";

/// The table `other` that is created with it.
pub const OTHERS: &str = "\
source: { table: public.other, tenant: tenant, key: { id: id } }
query: select o.tenant as tenant_id, o.id, o.body from public.other o
target: { table: others }
";

/// Rows of `item` whose column `body` goes through [`PRINTING`].
pub const PRINTED: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, printed(body) as body from public.item
target: { table: items }
";

/// A function that fails for the text `huge`, as the server does for a value that it cannot print.
pub const PRINTING: &str = "create function printed(text) returns text immutable language plpgsql as $$
  begin
    if $1 = 'huge' then raise 'invalid memory alloc request size 1120000003' using errcode = 'XX000'; end if;
    return $1;
  end $$";

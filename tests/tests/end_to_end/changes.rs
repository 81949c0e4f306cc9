//! Every kind of change through every default mapping (invariant 1: quiet destinations equal their
//! queries).

use offtake::demo::Load;
use offtake_tests::{World, oracle};

/// One row in every table, with keys that the tests use again.
const ONE_OF_EACH: &str = "
    insert into project_user (tenancy_id, project_user_id, display_name) select id, md5('ada')::uuid, 'Ada' from tenancy;
    insert into contact_channel (tenancy_id, project_user_id, id, type, value, is_primary)
      select id, md5('ada')::uuid, md5('mail')::uuid, 'email', 'ada@example.com', true from tenancy;
    insert into team (tenancy_id, team_id, display_name, tags, monthly_budget)
      select id, md5('core')::uuid, 'Core', array['a,b', null, '\"'], 12.3400 from tenancy;
    insert into team_member (tenancy_id, project_user_id, team_id) select id, md5('ada')::uuid, md5('core')::uuid from tenancy;
    insert into permission (tenancy_id, id, project_user_id, team_id, permission_id) select id, 1, md5('ada')::uuid, md5('core')::uuid, 'read' from tenancy;
    insert into invitation (id, project_id, branch_id, data, expires_at)
      select md5('invitation' || id)::uuid, project_id, branch_id, jsonb_build_object('team_id', md5('core')::uuid, 'recipient', 'g@example.com'), 'infinity'
        from tenancy;";

/// (table of a destination, the columns that are compared)
const COPIES: [(&str, &str); 7] = [
    ("tenancies", "display_name"),
    ("users", "concat_ws(' ', display_name, primary_email)"),
    ("contact_channels", "concat_ws(' ', type, value)"),
    ("teams", "concat_ws(' ', display_name, tags::text, monthly_budget, members)"),
    ("team_members", "concat_ws(' ', user_name, team_name)"),
    ("permissions", "permission"),
    ("invitations", "concat_ws(' ', recipient, team_name, expires_at)"),
];

/// The content of every copy of a tenant, one line per table.
async fn copies(world: &World, tenant: &str) -> Vec<String> {
    let mut said = Vec::new();
    for (table, row) in COPIES {
        let rows =
            format!("select coalesce(string_agg({row}, '; ' order by {row}), '-') from {table}");
        said.push(format!("{table}: {}", world.tenant(tenant).destination.query_text(&rows).await));
    }
    said
}

#[tokio::test]
async fn rows_are_created_changed_and_deleted_in_every_mapping() {
    let world = World::with_tenants(["acme", "globex"]).await;
    let daemon = world.daemon().await;
    world.source.execute(ONE_OF_EACH).await;
    world.wait_in_step().await;
    let created = [
        "tenancies: acme",
        "users: Ada ada@example.com",
        "contact_channels: email ada@example.com",
        r#"teams: Core {"a,b",NULL,"\""} 12.3400 1"#,
        "team_members: Ada Core",
        "permissions: read",
        "invitations: g@example.com Core infinity",
    ];
    assert_eq!(copies(&world, "acme").await, created);

    world
        .source
        .execute(
            "update tenancy set display_name = 'Acme Inc.' where display_name = 'acme';
             update project_user set display_name = 'Ada L.'; update contact_channel set value = 'l@example.com';
             update team set display_name = 'Kernel', monthly_budget = 'NaN', tags = '{}'; update permission set permission_id = 'write';
             update invitation set data = data || '{\"recipient\": \"h@example.com\"}', expires_at = '-infinity'",
        )
        .await;
    world.wait_in_step().await;
    let changed = [
        "tenancies: Acme Inc.",
        "users: Ada L. l@example.com",
        "contact_channels: email l@example.com",
        "teams: Kernel {} NaN 1",
        "team_members: Ada L. Kernel",
        "permissions: write",
        "invitations: h@example.com Kernel -infinity",
    ];
    assert_eq!(copies(&world, "acme").await, changed);
    oracle::assert_equal(&world).await;

    let globex = copies(&world, "globex").await;
    let of_acme = world.id("acme");
    world
        .source
        .execute(&format!(
            "delete from invitation where project_id = 'acme'; delete from permission where tenancy_id = '{of_acme}';
             delete from team_member where tenancy_id = '{of_acme}'; delete from team where tenancy_id = '{of_acme}';
             delete from contact_channel where tenancy_id = '{of_acme}'; delete from project_user where tenancy_id = '{of_acme}'"
        ))
        .await;
    world.wait_in_step().await;
    let left: Vec<_> =
        copies(&world, "acme").await.into_iter().filter(|line| !line.ends_with(" -")).collect();
    assert_eq!(left, ["tenancies: Acme Inc."]);
    assert_eq!(copies(&world, "globex").await, globex);
    daemon.stop().await;
}

#[tokio::test]
async fn cascades_reach_every_copy() {
    let world = World::with_tenants(["acme", "globex"]).await;
    let daemon = world.daemon().await;
    world.source.execute(ONE_OF_EACH).await;
    world.wait_in_step().await;
    // A cascade of one level: the user's channels, memberships and permissions are deleted with the
    // user, and the team counts one member less.
    world
        .source
        .execute(&format!("delete from project_user where tenancy_id = '{}'", world.id("acme")))
        .await;
    world.wait_in_step().await;
    assert_eq!(
        copies(&world, "acme").await[1..6],
        [
            "users: -",
            "contact_channels: -",
            r#"teams: Core {"a,b",NULL,"\""} 12.3400 0"#,
            "team_members: -",
            "permissions: -"
        ]
    );
    oracle::assert_equal(&world).await;
    // A cascade of two levels: the tenancy's users and teams are deleted with it, and their rows
    // with them.
    world.source.execute("delete from tenancy where display_name = 'globex'").await;
    world.wait_in_step().await;
    let left: Vec<_> =
        copies(&world, "globex").await.into_iter().filter(|line| !line.ends_with(" -")).collect();
    assert_eq!(left, [""; 0]);
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_team_s_new_name_rewrites_exactly_what_shows_it() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(40).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let destination = &world.tenant("acme").destination;
    destination
        .execute(
            "create table written (relation text, row_name text);
             create function note() returns trigger language plpgsql as $$ begin
               insert into written values (tg_table_name, tg_op || ' ' || coalesce(to_jsonb(new) ->> 'team_name', to_jsonb(new) ->> 'display_name', '-'));
               return null; end $$;
             create trigger note after insert or update or delete on invitations for each row execute function note();
             create trigger note after insert or update or delete on team_members for each row execute function note();
             create trigger note after insert or update or delete on teams for each row execute function note();
             create trigger note after insert or update or delete on users for each row execute function note();",
        )
        .await;
    let rename = format!(
        "update team set display_name = 'Renamed' where tenancy_id = '{}' and display_name = 'Team 2'",
        world.id("acme")
    );
    world.source.execute(&rename).await;
    world.wait_in_step().await;
    let of_team = |table: &str| format!("select count(*) from {table} where team_name = 'Renamed'");
    let (invitations, members) = (
        destination.query_text(&of_team("invitations")).await,
        destination.query_text(&of_team("team_members")).await,
    );
    assert_ne!((invitations.as_str(), members.as_str()), ("0", "0"));
    let expected = format!(
        "invitations|UPDATE Renamed|{invitations}\nteam_members|UPDATE Renamed|{members}\nteams|UPDATE Renamed|1"
    );
    assert_eq!(
        destination
            .query_text(
                "select relation, row_name, count(*) from written group by 1, 2 order by 1, 2"
            )
            .await,
        expected
    );
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn keys_and_tenants_change_in_place() {
    let world = World::with_tenants(["acme", "globex"]).await;
    let daemon = world.daemon().await;
    world.source.execute(ONE_OF_EACH).await;
    world.wait_in_step().await;
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    world
        .source
        .execute(&format!(
            "update project_user set project_user_id = md5('grace')::uuid, display_name = 'Grace' where tenancy_id = '{acme}';
             delete from team_member where tenancy_id = '{acme}'; delete from permission where tenancy_id = '{acme}';
             update project_user set tenancy_id = '{globex}' where tenancy_id = '{acme}'"
        ))
        .await;
    // A row whose tenant is looked up moves when its own columns change, and when those of the row
    // that names the tenant change.
    world
        .source
        .execute("update invitation set project_id = 'globex' where project_id = 'acme'")
        .await;
    world.wait_in_step().await;
    assert_eq!(copies(&world, "acme").await[1..3], ["users: -", "contact_channels: -"]);
    assert_eq!(
        copies(&world, "globex").await[1],
        "users: Ada ada@example.com; Grace ada@example.com"
    );
    oracle::assert_equal(&world).await;
    world
        .source
        .execute("update tenancy set project_id = 'renamed' where project_id = 'globex'")
        .await;
    world
        .source
        .execute(&format!("update tenancy set id = gen_random_uuid() where id = '{acme}'"))
        .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn truncated_tables_are_emptied_everywhere() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(30).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.source.execute("begin; truncate project_user cascade; rollback").await;
    world.source.execute("truncate invitation").await;
    world
        .source
        .execute("truncate project_user cascade; insert into project_user (tenancy_id, display_name) select id, 'after' from tenancy")
        .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(
        world.tenant("acme").destination.query_text("select display_name from users").await,
        "after"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn a_random_load_beside_the_initial_copy_ends_equal() {
    let world = World::with_tenants(["acme", "globex", "initech"]).rows_at_once(50).await;
    world.fill(200).await;
    let mut load = Load::new(world.source.connect().await, 11).await.unwrap();
    let daemon = world.daemon().await;
    for _ in 0..1500 {
        load.write().await.unwrap();
    }
    load.write_every_kind().await.unwrap();
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

//! Invariant 2: no row of one tenant is ever in another tenant's destination.

use offtake_tests::{World, oracle};

const TENANTS: [&str; 10] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"];

#[tokio::test]
async fn ten_tenants_with_equal_keys_see_their_own_rows_only() {
    let world = World::with_tenants(TENANTS).await;
    world
        .source
        .execute(
            "insert into project_user (tenancy_id, project_user_id, display_name)
               select id, md5('user' || n)::uuid, display_name || ' user ' || n from tenancy, generate_series(1, 30) n;
             insert into contact_channel (tenancy_id, project_user_id, id, type, value, is_primary)
               select tenancy_id, project_user_id, md5('mail')::uuid, 'email', display_name, true from project_user;
             insert into team (tenancy_id, team_id, display_name)
               select id, md5('team' || n)::uuid, display_name || ' team ' || n from tenancy, generate_series(1, 5) n;
             insert into team_member (tenancy_id, project_user_id, team_id)
               select u.tenancy_id, u.project_user_id, t.team_id from project_user u join team t using (tenancy_id);
             insert into permission (tenancy_id, id, project_user_id, permission_id)
               select tenancy_id, row_number() over (partition by tenancy_id order by project_user_id), project_user_id, display_name from project_user;
             insert into invitation (id, project_id, branch_id, method, data, expires_at)
               select md5(display_name)::uuid, project_id, branch_id, display_name,
                      jsonb_build_object('team_id', md5('team1')::uuid, 'recipient', display_name), now() from tenancy",
        )
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    assert_only_own_rows(&world).await;
    // One tenant's row changes and another's is deleted; eight other tenants have rows with the
    // same key.
    world
        .source
        .execute(&format!(
            "update project_user set display_name = 't3 changed' where tenancy_id = '{}' and project_user_id = md5('user7')::uuid;
             delete from project_user where tenancy_id = '{}' and project_user_id = md5('user7')::uuid;
             update team set display_name = 't5 renamed' where tenancy_id = '{}' and team_id = md5('team1')::uuid",
            world.id("t3"),
            world.id("t4"),
            world.id("t5")
        ))
        .await;
    world.wait_in_step().await;
    assert_only_own_rows(&world).await;
    let user7 = "select display_name from users where id = md5('user7')::uuid";
    for (tenant, expected) in
        [("t2", "t2 user 7"), ("t3", "t3 changed"), ("t4", ""), ("t5", "t5 user 7")]
    {
        assert_eq!(world.tenant(tenant).destination.query_text(user7).await, expected, "{tenant}");
    }
    assert_eq!(
        world.tenant("t5").destination.query_text("select team_name from invitations").await,
        "t5 renamed"
    );
    assert_eq!(
        world.tenant("t6").destination.query_text("select team_name from invitations").await,
        "t6 team 1"
    );
    daemon.stop().await;
}

/// Checks that a tenant sees only its own rows: every text begins with the name of the tenant it
/// belongs to.
async fn assert_only_own_rows(world: &World) {
    oracle::assert_equal(world).await;
    for tenant in world.tenants() {
        let foreign = format!(
            "select said from (select display_name as said from users union all select primary_email from users
               union all select value from contact_channels union all select display_name from teams
               union all select user_name from team_members union all select team_name from team_members
               union all select permission from permissions union all select recipient from invitations
               union all select team_name from invitations union all select display_name from tenancies) s
              where said not like '{} %' and said <> '{}'",
            tenant.name, tenant.name
        );
        assert_eq!(
            tenant.destination.query_text(&foreign).await,
            "",
            "{} has rows of others",
            tenant.name
        );
        assert_eq!(tenant.destination.query_text("select count(*) from tenancies").await, "1");
    }
}

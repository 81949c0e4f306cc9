//! A failed request is retried when its cause is repaired, not only when its backoff ends.

use offtake_tests::samples::TEAMS;
use offtake_tests::{World, oracle};
use serde_json::json;

use crate::offtake;

#[tokio::test]
async fn an_edit_and_a_sync_do_not_wait_for_the_backoff_of_a_mapping() {
    let world = World::with_tenants(["acme", "globex"]).mappings(&[("teams", TEAMS)]);
    let world = world.setting("/sync/retry", json!({ "initial": "1h", "max": "1h" })).await;
    world.fill(5).await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    for tenant in world.tenants() {
        tenant
            .destination
            .execute("create table teams (name text); insert into teams values ('mine')")
            .await;
    }
    let daemon = world.daemon().await;
    for tenant in ["acme", "globex"] {
        world.wait_told(&daemon, tenant, "blocked", &["was there before Offtake"]).await;
    }
    world.tenant("acme").destination.execute("alter table teams rename to their_teams").await;
    let (code, _, complained) =
        offtake(&world, &["sync", "--tenant", world.id("acme"), "--wait", "30s"]).await;
    assert_eq!((code, complained.as_str()), (0, ""));
    world.wait_tenants_in_step(&["acme"], offtake_tests::PATIENCE).await;
    world.write_mapping("teams", &TEAMS.replace("table: teams", "table: groups"));
    world.wait_in_step().await;
    world.wait_told(&daemon, "globex", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

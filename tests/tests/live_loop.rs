//! The smallest test of the whole: the real binary keeps real databases in step.

use offtake_tests::{World, oracle};

#[tokio::test]
async fn rows_arrive_change_and_leave() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(50).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world
        .source
        .execute(
            "update project_user set display_name = display_name || '!'; delete from team where ctid in (select ctid from team limit 2)",
        )
        .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

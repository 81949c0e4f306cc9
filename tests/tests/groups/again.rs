//! Copies of members that an operator has made again.

use futures_util::future::join_all;

use super::{together, versions, wait_equal, wait_together, world, write_together};

/// A copy that is made again mends its tenant's rows and touches nobody else's, neither those of
/// other members nor those of strangers.
#[tokio::test]
async fn a_copy_that_is_made_again_is_one_tenant_s() {
    let (world, daemon) = world(20).await;
    let there = &world.tenant("first").destination;
    there
        .execute(
            "insert into notes values ('t3', 99, 'surplus'), ('t4', 99, 'surplus'), ('stranger', 1, 'theirs'), ('stranger', 99, 'theirs');
             update notes set body = 'planted' where tenant_id in ('t3', 't4') and id = 1;
             delete from notes where tenant_id = 't5';
             delete from marks where tenant_id in ('t3', 't5')",
        )
        .await;
    let others = "tenant_id <> 't3'";
    let before = (versions(&world, "notes", others).await, versions(&world, "marks", others).await);
    world.succeed(&["resync", "--tenant", "t3", "--wait", "30s"]).await;
    let rows = "select (select string_agg(id || ' ' || body, ',') from notes where tenant_id = 't3'), (select count(*) from marks where tenant_id = 't3')";
    assert_eq!(there.query_text(rows).await, "1 first|1");
    let after = (versions(&world, "notes", others).await, versions(&world, "marks", others).await);
    assert_eq!(after, before);

    // Of all of them at once.
    let tenants: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let strangers = versions(&world, "notes", "tenant_id = 'stranger'").await;
    let all = tenants.iter().map(|tenant| async {
        world.succeed(&["resync", "--tenant", tenant, "--wait", "30s"]).await;
    });
    join_all(all).await;
    wait_equal(&world).await;
    assert_eq!(versions(&world, "notes", "tenant_id = 'stranger'").await, strangers);
    write_together(&world, &daemon, "update note set body = 'second'", 20).await;
    daemon.stop().await;
}

/// The operator asks while a group has the tenant: before it has read, when it has committed, and
/// when it has yet to say so. The copy is made again all the same.
#[tokio::test]
async fn a_copy_that_is_asked_for_amid_a_group_is_made_again() {
    let (world, daemon) = world(12).await;
    let there = &world.tenant("first").destination;
    for point in ["sync.after_claim", "sync.before_commit", "sync.before_complete"] {
        let (before, reached) = (together(&daemon), daemon.failpoint_count(point));
        daemon.set_failpoint(point, "1*pause->off").await;
        world.source.execute(&format!("update mark set value = value + 1; update note set body = '{point}' where tenant <> 't7'")).await;
        daemon.wait_at_failpoint(point, reached + 1).await;
        there.execute("insert into notes values ('t7', 99, 'surplus')").await;
        world.succeed(&["resync", "--tenant", "t7"]).await;
        daemon.clear_failpoints().await;
        world.source.wait_text("select count(*) from offtake.resync_request", "0").await;
        wait_equal(&world).await;
        wait_together(&daemon, before, 11).await;
    }
    daemon.stop().await;
}

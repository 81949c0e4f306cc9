//! What an operator stops amid a group's work.

use offtake_tests::{Daemon, PATIENCE, World, until};

use super::{together, wait_equal, wait_together, world, write_together};

async fn wait_there(world: &World, sql: &str, expect: &str) {
    world.tenant("first").destination.wait_text(sql, expect).await;
}

/// A group of all twenty tenants stands right before its commit, with this body in each note.
async fn stand_before_commit(world: &World, daemon: &Daemon, body: &str) {
    let before = daemon.failpoint_count("sync.before_commit");
    daemon.clear_failpoints().await;
    daemon.set_failpoint("sync.before_commit", "1*pause->off").await;
    let change = format!("update note set body = '{body}'; update mark set value = value + 1");
    world.source.execute(&change).await;
    daemon.wait_at_failpoint("sync.before_commit", before + 1).await;
}

/// A tenant's fuse stops its share of a group at once, also while the group waits at the
/// destination; the others are written for without it.
#[tokio::test]
async fn a_stopped_member_holds_up_no_other() {
    let (world, daemon) = world(30).await;
    let there = &world.tenant("first").destination;
    let holder = there.connect().await;
    let lock = "begin; select from notes where tenant_id = 't5' for update";
    holder.batch_execute(lock).await.expect("the row is there");
    world.source.execute("update note set body = 'second'").await;
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    until("the group waits for the row", PATIENCE, async || {
        let found = there.try_query_text(waits).await?;
        if found == "0" { Err(found) } else { Ok(()) }
    })
    .await;
    world.succeed(&["fuse", "off", "tenant:t5", "--reason", "a test"]).await;
    until("the others have their rows", PATIENCE, async || {
        let told = there.try_query_text("select count(*) from notes where body = 'second'").await?;
        if told == "29" { Ok(()) } else { Err(told) }
    })
    .await;
    holder.batch_execute("commit").await.expect("the lock is released");
    world.succeed(&["fuse", "on", "tenant:t5"]).await;
    wait_equal(&world).await;
    daemon.stop().await;
}

/// A pause, and each fuse that names a tenant or its destination, ends the group at once: nothing of
/// that tenant is written, and the others are written for together without it. The test fails
/// without `stopped` in `write` (crates/sync/src/turn/group.rs): the group stood still.
#[tokio::test]
async fn a_pause_or_a_fuse_amid_a_group_stops_one_tenant() {
    let (world, daemon) = world(20).await;
    let off = |fuse: &'static str| vec!["fuse", "off", fuse, "--reason", "a test"];
    for (stop, fuse, go_on) in [
        (
            vec!["pause", "--tenant", "t5", "--reason", "a test"],
            "destination:t5/main",
            vec!["resume", "--tenant", "t5"],
        ),
        (off("tenant:t5"), "tenant:t5", vec!["fuse", "on", "tenant:t5"]),
        (
            off("destination:t5/main"),
            "destination:t5/main",
            vec!["fuse", "on", "destination:t5/main"],
        ),
    ] {
        let (before, body) = (together(&daemon), stop[..2].join(" "));
        stand_before_commit(&world, &daemon, &body).await;
        world.succeed(&stop).await;
        daemon.wait_fuse(fuse, true).await;
        let arrived = format!(
            "select count(*), count(*) filter (where tenant_id = 't5') from notes where body = '{body}'"
        );
        wait_there(&world, &arrived, "19|0").await;
        wait_together(&daemon, before, 19).await;
        // Nor is it one of the next group.
        let before = together(&daemon);
        world.source.execute("update note set body = body || ', then'").await;
        wait_there(&world, &arrived.replace(&body, &format!("{body}, then")), "19|0").await;
        wait_together(&daemon, before, 19).await;
        let value = "select count(distinct value) from marks";
        assert_eq!(world.tenant("first").destination.query_text(value).await, "2", "{body}");
        world.succeed(&go_on).await;
        daemon.wait_fuse(fuse, false).await;
        wait_equal(&world).await;
        write_together(&world, &daemon, "update note set body = 'all'", 20).await;
    }
    daemon.stop().await;
}

/// The group's batch has rows of the mapping, so it is not committed. The other mapping goes on.
#[tokio::test]
async fn a_fuse_of_a_mapping_amid_a_group_stops_that_mapping() {
    let (world, daemon) = world(20).await;
    stand_before_commit(&world, &daemon, "too early").await;
    world.succeed(&["fuse", "off", "mapping:notes", "--reason", "a test"]).await;
    let arrived = "select (select count(*) from marks where value = 2.0), (select count(*) from notes where body = 'too early')";
    wait_there(&world, arrived, "20|0").await;
    world.succeed(&["fuse", "on", "mapping:notes"]).await;
    wait_equal(&world).await;
    write_together(&world, &daemon, "update note set body = 'all'", 20).await;
    daemon.stop().await;
}

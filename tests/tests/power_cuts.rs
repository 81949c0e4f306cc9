//! H7: everything that a copy shows is on the source's disk. In these tests the application does
//! not wait for durable commits. Then all processes of the source are killed, and everything that
//! was only in their memory is lost.

#![allow(clippy::unwrap_used)]

use offtake_tests::samples::USERS;
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use rustix::process::{Pid, Signal, kill_process};

/// At this source nothing is durable before a session asks for it.
async fn world() -> (World, Daemon) {
    // The completion of a request may be lost too. Then the request stays claimed until its lease
    // expires.
    let world = World::with_tenants(["acme"])
        .private_source()
        .mappings(&[("users", USERS)])
        .setting("/poller/lease", "1s")
        .await;
    world.allow("*");
    world.fill(20).await;
    for set in [
        "synchronous_commit = off",
        "wal_writer_delay = '10s'",
        "wal_writer_flush_after = '1GB'",
        "autovacuum = off",
    ] {
        world.source.execute(&format!("alter system set {set}")).await;
    }
    world.source_server().await.restart().await.unwrap();
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    (world, daemon)
}

async fn rename(world: &World, to: &str) {
    world.source.execute(&format!("update project_user set display_name = '{to}'")).await;
}

async fn wait_visible(world: &World, name: &str) {
    let visible = format!("select count(*) = 20 from users where display_name = '{name}'");
    until(&format!("{name} is visible"), PATIENCE, async || match world.tenant("acme").destination.query_text(&visible).await.as_str() {
        "t" => Ok(()),
        _ => {
            let left = "select (select count(*) from offtake.captured_change), (select count(*) from offtake.change_log),
                               (select sequence_id from offtake.poller_position), (select string_agg(r::text, ' ') from offtake.outgoing_request r)";
            Err(world.source.try_query_text(left).await?)
        }
    })
    .await;
}

/// Stops the WAL writer, which writes full pages on its own, so that they stay in memory until a
/// session asks for durability.
async fn stop_wal_writer(world: &World) -> Pid {
    let writer = world
        .source
        .query_text("select pid from pg_stat_activity where backend_type = 'walwriter'")
        .await;
    let writer = Pid::from_raw(writer.parse().unwrap()).unwrap();
    kill_process(writer, Signal::STOP).unwrap();
    writer
}

/// Kills every process of the source, and starts the server again.
async fn cut_power(world: &World, writer: Pid) {
    let mut server = world.source_server().await;
    kill_process(writer, Signal::KILL).unwrap();
    server.kill_immediate();
    server.start_again().await.unwrap();
}

async fn assert_kept(world: &World, name: &str) {
    let kept = "select string_agg(distinct display_name, ', ') from project_user";
    assert_eq!(world.source.query_text(kept).await, name, "a copy has what its source has lost");
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
}

/// The test fails without `set local synchronous_commit = on` in
/// crates/sequencer/sql/begin_tick.sql and `make_durable` (crates/reading/src/snapshot.rs): the
/// source had lost rows that the copy showed.
#[tokio::test]
async fn what_is_visible_in_a_copy_survives_a_power_cut_at_the_source() {
    let (world, daemon) = world().await;
    // First shown: a power cut does lose commits of an application that does not wait.
    daemon.set_failpoint("sequencer.after_lock", "pause").await;
    let writer = stop_wal_writer(&world).await;
    rename(&world, "lost").await;
    cut_power(&world, writer).await;
    let lost = world
        .source
        .query_text("select count(*) from project_user where display_name = 'lost'")
        .await;
    assert_eq!(lost, "0", "the test's power cut takes nothing");
    daemon.clear_failpoints().await;
    for round in 0..2 {
        let writer = stop_wal_writer(&world).await;
        let name = format!("visible in round {round}");
        rename(&world, &name).await;
        wait_visible(&world, &name).await;
        cut_power(&world, writer).await;
        assert_kept(&world, &name).await;
    }
    daemon.stop().await;
}

/// A batch reads a row's current state, which may be newer than the change being applied: it was
/// committed after the last tick, and nothing has made it durable yet. The test fails without
/// `make_durable` (crates/reading/src/snapshot.rs).
#[tokio::test]
async fn what_was_written_after_the_tick_is_durable_before_it_is_visible() {
    let (world, daemon) = world().await;
    let writer = stop_wal_writer(&world).await;
    daemon.set_failpoint("sync.after_claim", "pause").await;
    rename(&world, "first").await;
    daemon.wait_at_failpoint("sync.after_claim", 1).await;
    daemon.set_failpoint("sequencer.after_lock", "pause").await;
    rename(&world, "second").await;
    // A later commit of the daemon itself must not make the row durable, so the daemon is paused
    // after the batch.
    daemon.set_failpoint("sync.after_commit", "pause").await;
    daemon.clear_failpoint("sync.after_claim").await;
    wait_visible(&world, "second").await;
    cut_power(&world, writer).await;
    daemon.clear_failpoints().await;
    assert_kept(&world, "second").await;
    daemon.stop().await;
}

//! H7: what a copy has, the source has on its disk. The application does not wait for its commits
//! to be durable; the source's processes end at once, and what was only in their memory is gone.

#![allow(clippy::unwrap_used)]

use offtake_tests::samples::USERS;
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use rustix::process::{Pid, Signal, kill_process};

/// Nothing at this source is durable before somebody asks for it.
async fn world() -> (World, Daemon) {
    // A request's completion may be lost as well: then it is claimed until its lease ends.
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

/// Stops the process that writes completed pages of the log by itself, so that they stay where they
/// are until somebody asks.
async fn stop_wal_writer(world: &World) -> Pid {
    let writer = world
        .source
        .query_text("select pid from pg_stat_activity where backend_type = 'walwriter'")
        .await;
    let writer = Pid::from_raw(writer.parse().unwrap()).unwrap();
    kill_process(writer, Signal::STOP).unwrap();
    writer
}

/// Every process of the source ends as it is; and the server comes back.
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

/// Shown to fail without `set local synchronous_commit = on` in crates/sequencer/sql/begin_tick.sql
/// and `make_durable` (crates/reading/src/snapshot.rs): the source had lost what was visible.
#[tokio::test]
async fn what_is_visible_in_a_copy_survives_a_power_cut_at_the_source() {
    let (world, daemon) = world().await;
    // So this is what a power cut takes from an application that does not wait.
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

/// What a batch reads is a row's state of now, which may be younger than the change that is
/// applied: it was committed after the last tick, and nothing has made it durable. Shown to fail
/// without `make_durable` (crates/reading/src/snapshot.rs).
#[tokio::test]
async fn what_was_written_after_the_tick_is_durable_before_it_is_visible() {
    let (world, daemon) = world().await;
    let writer = stop_wal_writer(&world).await;
    daemon.set_failpoint("sync.after_claim", "pause").await;
    rename(&world, "first").await;
    daemon.wait_at_failpoint("sync.after_claim", 1).await;
    daemon.set_failpoint("sequencer.after_lock", "pause").await;
    rename(&world, "second").await;
    // Nothing of the daemon's own that is committed after the batch may hide what is tested.
    daemon.set_failpoint("sync.after_commit", "pause").await;
    daemon.clear_failpoint("sync.after_claim").await;
    wait_visible(&world, "second").await;
    cut_power(&world, writer).await;
    daemon.clear_failpoints().await;
    assert_kept(&world, "second").await;
    daemon.stop().await;
}

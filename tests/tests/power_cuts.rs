//! H7: everything that a copy shows is on the source's disk. In these tests the application does
//! not wait for durable commits. Then all processes of the source are killed, and everything that
//! was only in their memory is lost.

#![allow(clippy::unwrap_used)]

use offtake_tests::samples::USERS;
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use rustix::process::{Pid, Signal, kill_process};

/// At this source nothing is durable before a session asks for it.
async fn world<const N: usize>(tenants: [&str; N]) -> (World, Daemon) {
    // The completion of a request may be lost too. Then the request stays claimed until its lease
    // expires.
    let world = World::with_tenants(tenants)
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

/// The test fails without `end_durably` (crates/reading/src/durable.rs): the source had lost rows
/// that the copy showed.
#[tokio::test]
async fn what_is_visible_in_a_copy_survives_a_power_cut_at_the_source() {
    let (world, daemon) = world(["acme"]).await;
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
/// `end_durably` (crates/reading/src/durable.rs).
#[tokio::test]
async fn what_was_written_after_the_tick_is_durable_before_it_is_visible() {
    let (world, daemon) = world(["acme"]).await;
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

/// The sequence id up to which the source's log goes.
async fn head(world: &World) -> i64 {
    let head = world.source.query_text("select sequence_id from offtake.log_head").await;
    head.parse().unwrap()
}

/// Has a change of globex numbered that no worker applies, and that nothing makes durable. Returns
/// its sequence id.
async fn number_without_applying(world: &World) -> i64 {
    let before = head(world).await;
    let globex = world.id("globex");
    let rename =
        format!("update project_user set display_name = 'x' where tenancy_id = '{globex}'");
    world.source.execute(&rename).await;
    until("the change is numbered", PATIENCE, async || {
        let head = head(world).await;
        if head > before { Ok(()) } else { Err(head.to_string()) }
    })
    .await;
    head(world).await
}

async fn wait_for_cursor(world: &World, sequence_id: i64) {
    let reached =
        format!("select coalesce(min(sequence_id), 0) >= {sequence_id} from _offtake_state");
    let destination = &world.tenant("acme").destination;
    until("the cursor is there", PATIENCE, async || {
        match destination.query_text(&reached).await.as_str() {
            "t" => Ok(()),
            _ => Err(destination.query_text("select sequence_id from _offtake_state").await),
        }
    })
    .await;
}

/// After a cut that takes numbers back, the source gives them out again. A cursor beyond them would
/// pass over what they mean then.
async fn assert_cursor_is_good(world: &World, cursor: i64) {
    let head = head(world).await;
    assert!(head >= cursor, "the source forgot numbers up to {cursor}, its head is {head}");
    world.succeed(&["fuse", "on", &format!("tenant:{}", world.id("globex"))]).await;
    rename(world, "after the cut").await;
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
}

/// A cursor moves to the head of its batch also where the batch has no rows. The test fails if only
/// a batch with rows is made durable.
#[tokio::test]
async fn a_cursor_that_moves_without_rows_survives_a_power_cut_at_the_source() {
    let (world, daemon) = world(["acme", "globex"]).await;
    let fuse = format!("tenant:{}", world.id("globex"));
    world.succeed(&["fuse", "off", &fuse, "--reason", "a test"]).await;
    daemon.wait_fuse(&fuse, true).await;
    let writer = stop_wal_writer(&world).await;
    let numbered = number_without_applying(&world).await;
    world.succeed(&["sync", "--tenant", world.id("acme")]).await;
    wait_for_cursor(&world, numbered).await;
    cut_power(&world, writer).await;
    assert_cursor_is_good(&world, numbered).await;
    daemon.stop().await;
    an_export_has_what_survives(&world).await;
}

/// Rows of an export are durable before they are in a file: no later change takes them back there.
/// It fails without `make_durable` in `HeldSnapshot` (crates/reading/src/held.rs).
async fn an_export_has_what_survives(world: &World) {
    let writer = stop_wal_writer(world).await;
    rename(world, "exported").await;
    let to = world.folder().join("exported");
    let create = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--to"];
    let create = [&create[..], &[to.to_str().unwrap(), "--compression", "none"]].concat();
    world.succeed(&create).await;
    let text = std::fs::read_to_string(to.join("users.csv")).unwrap();
    assert_eq!(text.matches("exported").count(), 20, "{text}");
    cut_power(world, writer).await;
    let kept = "select string_agg(distinct display_name, ', ') from project_user";
    assert_eq!(world.source.query_text(kept).await, "exported");
}

/// A copy begins at the head of the log, before anything is read for it. The test fails without
/// `make_durable` in `read_head` (crates/reading/src/head.rs).
#[tokio::test]
async fn a_copy_that_begins_survives_a_power_cut_at_the_source() {
    let (world, daemon) = world(["acme", "globex"]).await;
    let fuse = format!("tenant:{}", world.id("globex"));
    world.succeed(&["fuse", "off", &fuse, "--reason", "a test"]).await;
    daemon.wait_fuse(&fuse, true).await;
    daemon.set_failpoint("sync.after_claim", "pause").await;
    let writer = stop_wal_writer(&world).await;
    let numbered = number_without_applying(&world).await;
    world.succeed(&["resync", "--tenant", world.id("acme")]).await;
    daemon.wait_at_failpoint("sync.after_claim", 1).await;
    // The worker tells the source of the copy before it reads the first rows, and waits here.
    let holder = world.source.connect().await;
    let lock = "begin; lock table offtake.destination_mapping in share mode";
    holder.batch_execute(lock).await.unwrap();
    daemon.clear_failpoint("sync.after_claim").await;
    wait_for_cursor(&world, numbered).await;
    cut_power(&world, writer).await;
    assert_cursor_is_good(&world, numbered).await;
    daemon.stop().await;
}

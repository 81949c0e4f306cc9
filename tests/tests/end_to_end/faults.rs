//! Invariants 5, 6 and 8: what is owed survives every fault; a fault concerns only its destination
//! and is reported.

use std::time::Duration;

use offtake::demo::Load;
use offtake_tests::{PATIENCE, World, oracle, until};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_destination_that_is_down_delays_nobody_else_and_catches_up() {
    let world = World::with_tenants(["acme", "globex", "initech"])
        .private_destination("acme")
        .setting("/sync/retry/max", "500ms")
        .await;
    world.allow("destination_failed");
    world.fill(50).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.tenant("acme").server().await.shut_down();
    world.source.execute("update project_user set display_name = 'while acme was down'").await;
    world.source.execute("delete from team").await;
    world.wait_tenants_in_step(&["globex", "initech"], PATIENCE).await;
    oracle::assert_tenants_equal(&world, &["globex", "initech"]).await;
    let status = until("acme is told to be blocked", PATIENCE, async || {
        let status = daemon.status().await;
        let destinations = status["destinations"].as_array().cloned().unwrap_or_default();
        let acme = destinations
            .into_iter()
            .find(|d| d["tenant"] == world.id("acme"))
            .ok_or("acme is not listed")?;
        if acme["state"] == "blocked" { Ok(acme) } else { Err(acme.to_string()) }
    })
    .await;
    assert!(
        status["last_error"].is_string() && status["consecutive_failures"].as_i64() > Some(0),
        "{status}"
    );
    world.tenant("acme").server().await.start_again().await.unwrap();
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_killed_daemon_loses_nothing_and_repeats_nothing_visible() {
    let world = World::with_tenants(["acme", "globex"])
        .rows_at_once(100)
        .setting("/poller/lease", "1s")
        .await;
    world.fill(100).await;
    let stop = CancellationToken::new();
    let mut load = Load::new(world.source.connect().await, 5).await.unwrap();
    let killing = async {
        for round in 0..6 {
            let mut daemon = world.spawn_daemon(&[]);
            tokio::time::sleep(Duration::from_millis(150 + 150 * round)).await;
            daemon.kill();
        }
        stop.cancel();
    };
    let (written, ()) = tokio::join!(load.run(100, &stop, |_| ()), killing);
    written.unwrap();
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn two_daemons_share_the_work_and_one_goes_on_alone() {
    let world =
        World::with_tenants(["acme", "globex", "initech"]).setting("/poller/lease", "1s").await;
    world.fill(50).await;
    let (mut one, two) = tokio::join!(world.daemon(), world.daemon());
    let mut load = Load::new(world.source.connect().await, 6).await.unwrap();
    for write in 0..800 {
        if write == 400 {
            one.kill();
        }
        load.write().await.unwrap();
    }
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    two.stop().await;
}

#[tokio::test]
async fn a_frozen_daemon_that_wakes_changes_nothing() {
    let world = World::with_tenants(["acme", "globex"]).setting("/poller/lease", "1s").await;
    world.allow("*");
    world.fill(50).await;
    let (one, two) = tokio::join!(world.daemon(), world.daemon());
    let mut load = Load::new(world.source.connect().await, 8).await.unwrap();
    for write in 0..600 {
        match write {
            100 | 300 => one.freeze(),
            200 | 400 => one.thaw(),
            _ => {}
        }
        load.write().await.unwrap();
    }
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    two.stop().await;
    one.stop().await;
}

#[tokio::test]
async fn sigterm_ends_a_busy_daemon_cleanly_and_the_next_one_goes_on() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(300).await;
    let daemon = world.daemon().await;
    let mut load = Load::new(world.source.connect().await, 9).await.unwrap();
    for _ in 0..200 {
        load.write().await.unwrap();
    }
    daemon.stop().await;
    for _ in 0..200 {
        load.write().await.unwrap();
    }
    // `--once` ends by itself when nothing is owed.
    let mut once = world.spawn_daemon(&["--once"]);
    let status = once.wait_exit(PATIENCE).await;
    assert!(status.success(), "{status}");
    oracle::assert_equal(&world).await;
}

#[tokio::test]
async fn a_source_that_restarts_is_waited_for() {
    let world = World::with_tenants(["acme"]).private_source().await;
    world.allow("*");
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.source_server().await.kill_immediate();
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.source_server().await.start_again().await.unwrap();
    world.source.execute("update project_user set display_name = 'after the restart'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

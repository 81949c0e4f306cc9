//! H22: stored times come from the source's clock, and waits use a clock that only runs forward. So
//! a daemon whose own clock is hours off shares the work with a daemon whose clock is right.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{Daemon, PATIENCE, World, history, oracle, until};

/// The library of Debian's package `faketime`.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")));
    folders.into_iter().find(|file| file.is_file())
}

fn set_clock(world: &mut World, library: &std::path::Path, offset: &str) {
    world.set_variable("LD_PRELOAD", library.to_str().unwrap());
    world.set_variable("FAKETIME", offset);
    // Deadlines use the monotonic clock, which no administrator can set.
    world.set_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

/// When the daemon began, according to its log.
async fn began(daemon: &Daemon) -> String {
    let first = until("the daemon has logged a line", PATIENCE, async || {
        daemon.log().first().cloned().ok_or_else(|| "nothing yet".to_owned())
    })
    .await;
    let line: serde_json::Value = serde_json::from_str(&first.text).unwrap();
    line["timestamp"].as_str().unwrap().to_owned()
}

/// How many hours one daemon's clock is ahead of the other's, rounded: the daemons began seconds
/// apart or, on a slow machine, minutes.
async fn hours_ahead(world: &World, one: &Daemon, other: &Daemon) -> String {
    let hours = format!(
        "select round(extract(epoch from timestamptz '{}' - timestamptz '{}') / 3600)",
        began(one).await,
        began(other).await
    );
    world.source.query_text(&hours).await
}

/// No worker holds a lease that ends later than one lease duration from now, by the source's clock.
/// `clock_timestamp()`, because `now()` may be older than a lease that the statement sees.
async fn assert_no_lease_is_long(world: &World) {
    let long = "select count(*) from offtake.outgoing_request where leased_until > clock_timestamp() + interval '2 s'";
    assert_eq!(world.source.query_text(long).await, "0");
}

#[tokio::test]
async fn daemons_whose_clocks_are_hours_off_share_the_work() {
    let Some(library) = library() else {
        eprintln!("skipped: libfaketime is not installed (Debian: apt-get install faketime)");
        return;
    };
    let workload = Workload::new(31);
    let mut world = Workload::plan(["acme", "globex"]).setting("/poller/lease", "2s").await;
    world.allow("*");
    workload.prepare(&world).await;
    history::install(&world).await;
    let right = world.daemon().await;
    set_clock(&mut world, &library, "-5h");
    let mut late = world.daemon().await;
    set_clock(&mut world, &library, "+7h");
    let early = world.daemon().await;
    assert_eq!(hours_ahead(&world, &late, &right).await, "-5", "the clock is another one");
    assert_eq!(hours_ahead(&world, &early, &right).await, "7", "the clock is another one");
    for _ in 0..5 {
        workload.run(&world, Extent::Steps(20)).await;
        assert_no_lease_is_long(&world).await;
    }
    // Its leases end by the source's clock, and not in five hours.
    late.kill();
    right.stop().await;
    workload.run(&world, Extent::Steps(20)).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    // The status also shows times of the source's clock.
    let acme = world.id("acme").to_owned();
    let told = world.wait_told(&early, "acme", "in_sync", &[]).await;
    assert!(told["lag_seconds"].as_f64().is_none_or(|lag| lag < 60.0), "{told}");
    world.succeed(&["pause", "--tenant", &acme, "--reason", "a test", "--for", "1h"]).await;
    world.wait_told(&early, "acme", "paused", &[]).await;
    let hours = "select round(extract(epoch from paused_until - now()) / 3600) from offtake.destination where paused_until is not null";
    assert_eq!(world.source.query_text(hours).await, "1");
    world.source.execute("update work.note set body = body || '+' where name = 'n1'").await;
    world.wait_tenants_in_step(&["globex"], PATIENCE).await;
    early.stop().await;
}

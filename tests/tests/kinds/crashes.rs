//! SIGKILL at any point of a write.

use std::time::Duration;

use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{CopyKind, PATIENCE, beside, history, oracle, until};
use serde_json::json;

use crate::{filled, plan, write};

/// Where a transaction of a destination is open, or has just ended.
const POINTS: [&str; 5] = [
    "sync.after_begin",
    "sync.mid_batch",
    "sync.before_cursor",
    "sync.before_commit",
    "sync.after_commit",
];

/// Fewer states of rows would prove little.
const STATES_MIN: usize = 100;

/// A daemon is killed at each point of a write, under the random load, while another one works on
/// the same destinations. Nothing is ever visible that was not committed, no key goes back to an
/// older state, rows and cursors move together, and afterwards every copy equals its queries.
pub(crate) async fn at_any_point(kind: CopyKind) {
    let workload = Workload::new(31);
    let world = Workload::plan(["acme", "globex"])
        .of_kind(kind)
        .setting("/poller/lease", "1s")
        .rows_at_once(50)
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "500ms" }))
        .await;
    world.allow("*");
    workload.prepare(&world).await;
    let recorded = history::record(&world).await;
    let survivor = world.daemon().await;
    let kills = async {
        for point in POINTS {
            let mut killed = world.spawn_daemon_with_failpoints(&[(point, "abort")]);
            until(&format!("a daemon dies at {point}"), PATIENCE, async || match killed.runs() {
                true => Err(format!("it runs; {} times there", killed.failpoint_count(point))),
                false => Ok(()),
            })
            .await;
            assert!(!killed.wait_exit(PATIENCE).await.success());
        }
    };
    beside(kills, async || {
        workload.run(&world, Extent::Steps(10)).await;
    })
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    for file in world.tenants().iter().filter_map(|tenant| tenant.file.as_ref()) {
        assert_eq!(file.query_text("pragma integrity_check"), "ok");
    }
    survivor.stop().await;
    world.succeed(&["verify"]).await;
    let seen = recorded.assert_sound(&world).await;
    assert!(seen > STATES_MIN, "only {seen} states of rows were seen");
}

/// Daemons are killed at any moment, under the random load, round after round; of the requests of a
/// D1 database some are lost besides. Every fifth round, everything is compared. Runs only in
/// `make kills`.
pub(crate) async fn for_long(kind: CopyKind) {
    let rounds = std::env::var("OFFTAKE_SOAK_ROUNDS").ok();
    let Some(rounds) = rounds.map(|rounds| rounds.parse::<u64>().expect("a number")) else {
        eprintln!("skipped: it runs for minutes; `make kills` runs it");
        return;
    };
    let world = Workload::plan(["acme", "globex"])
        .of_kind(kind)
        .setting("/poller/lease", "1s")
        .rows_at_once(50)
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "500ms" }))
        .await;
    world.allow("*");
    Workload::new(1).prepare(&world).await;
    let recorded = history::record(&world).await;
    for round in 1..=rounds {
        let workload = Workload::new(round);
        if kind == CopyKind::D1 {
            world.d1().lose(0.03);
        }
        let mut daemon = world.spawn_daemon_with_failpoints(&[]);
        let life = Duration::from_millis(100 + workload.seed() * 379 % 1900);
        let killed = async {
            tokio::time::sleep(life).await;
            daemon.kill();
        };
        beside(killed, async || {
            workload.run(&world, Extent::Steps(3)).await;
        })
        .await;
        if round % 5 != 0 && round != rounds {
            continue;
        }
        if kind == CopyKind::D1 {
            world.d1().mend();
        }
        let daemon = world.daemon().await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        for file in world.tenants().iter().filter_map(|tenant| tenant.file.as_ref()) {
            assert_eq!(file.query_text("pragma integrity_check"), "ok");
        }
        daemon.stop().await;
        world.succeed(&["verify"]).await;
        eprintln!("{kind:?}: equal after round {round}");
    }
    let seen = recorded.assert_sound(&world).await;
    eprintln!("{kind:?}: {rounds} rounds, {seen} states of rows were seen");
}

/// A daemon stands between the rows and the cursor, or right after the commit, and is killed there.
/// In the first case both are as they were, in the second both are new.
pub(crate) async fn between_rows_and_cursor(kind: CopyKind) {
    let rounds = if std::env::var_os("OFFTAKE_SOAK").is_some() { 500 } else { 6 };
    let world = filled(plan(kind, &["acme"]).setting("/poller/lease", "1s")).await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let acme = world.tenant("acme");
    let state = async || {
        let row = acme.query_there("select name from items where id = 1").await;
        let cursor = "select sequence_id from _offtake_state where mapping = 'items'";
        (row, acme.query_there(cursor).await.parse::<i64>().unwrap())
    };
    for round in 1..=rounds {
        let new = format!("round {round}");
        let before = state().await;
        write(&world, &format!("update item set name = '{new}' where {{acme}} and id = 1")).await;
        let committed = round % 2 == 0;
        let point = if committed { "sync.after_commit" } else { "sync.before_cursor" };
        let mut daemon = world.spawn_daemon_with_failpoints(&[(point, "pause")]);
        daemon.wait_at_failpoint(point, 1).await;
        daemon.kill();
        let after = state().await;
        match committed {
            true => assert!(after.0 == new && after.1 > before.1, "{before:?}, then {after:?}"),
            false => assert_eq!(after, before, "round {round}"),
        }
        // The next daemon does not wait for the dead one's lease.
        world.source.wait_left().await;
        let free = "update offtake.outgoing_request set leased_until = null, failures = 0, not_before = now()";
        world.source.execute(free).await;
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
    world.succeed(&["verify"]).await;
}

//! SIGKILL at any point of a write into a file loses no change and repeats nothing visible, and a
//! worker that goes on late changes nothing.

use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{PATIENCE, World, beside, oracle, until};
use serde_json::json;

async fn prepared(workload: &Workload) -> World {
    let world = Workload::plan(["acme", "globex"])
        .in_files()
        .setting("/poller/lease", "1s")
        .setting("/sync/batch_rows", 50)
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "500ms" }))
        .await;
    world.allow("*");
    workload.prepare(&world).await;
    world
}

/// Where a transaction of a file is open, or has just ended.
const POINTS: [&str; 5] = [
    "sync.after_begin",
    "sync.mid_batch",
    "sync.before_cursor",
    "sync.before_commit",
    "sync.after_commit",
];

/// A daemon is killed at each point of a write, under the random load, while another one works on
/// the same files. Afterwards every file equals its queries.
#[tokio::test]
async fn a_daemon_killed_at_any_point_of_a_write_into_a_file_loses_and_repeats_nothing() {
    let workload = Workload::new(31);
    let world = prepared(&workload).await;
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
    for tenant in world.tenants() {
        assert_eq!(tenant.file().query_text("pragma integrity_check"), "ok");
    }
    survivor.stop().await;
    world.succeed(&["verify"]).await;
}

/// A worker that has read its batch goes on after another daemon has taken its work over. It finds
/// another write id, and drops the batch: the older row does not come back, also where no cursor
/// has moved.
#[tokio::test]
async fn a_late_worker_finds_another_write_id_and_drops_its_batch() {
    let world = crate::filled(
        crate::plan().setting("/poller/lease", "10m").setting("/poller/claim_limit", 1),
    )
    .await;
    let late = world.daemon().await;
    world.wait_in_step().await;
    late.set_failpoint("sync.after_read", "pause").await;
    crate::write(&world, "update item set name = 'older' where {acme} and id = 1").await;
    late.wait_at_failpoint("sync.after_read", 1).await;
    let end =
        "update offtake.outgoing_request set leased_until = now() where leased_until is not null";
    world.source.execute(end).await;
    let other = world.daemon().await;
    crate::write(&world, "update item set name = 'newer' where {acme} and id = 1").await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    let row = "select name from items where id = 1";
    assert_eq!(file.query_text(row), "newer");
    late.clear_failpoints().await;
    crate::write(&world, "update other set body = body || '+'").await;
    world.wait_in_step().await;
    assert_eq!(file.query_text(row), "newer");
    oracle::assert_equal(&world).await;
    late.stop().await;
    other.stop().await;
}

//! What was visible of many tenants' copies while they were written together.

use offtake_tests::history::decoded::{self, Decoded};
use offtake_tests::proxy::Cut;
use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{Daemon, PATIENCE, World, beside, oracle, until};

use super::late::freeze;
use super::{DEBUG, together};

/// Waits until the daemon has written for several tenants together.
async fn works_together(daemon: &Daemon) {
    until("tenants are written for together", PATIENCE, async || match together(daemon) {
        0 => Err("none are".to_owned()),
        _ => Ok(()),
    })
    .await;
}

/// Writes, and lets the daemon lose replies, until each of the cuts has happened.
async fn lose_replies(world: &World, workload: &Workload) {
    let (there, source) = (world.tenant("t0").proxy(), world.source_proxy());
    for (proxy, cut) in [
        (there, Cut::before_reply("commit").times(4)),
        (there, Cut::after_statement("commit").times(2)),
        (source, Cut::before_reply("commit").times(6)),
        (source, Cut::before_reply("delete").times(2)),
    ] {
        let cut = proxy.arm(cut);
        let write = async || {
            workload.run(world, Extent::Steps(3)).await;
        };
        beside(cut.wait(), write).await;
        world.wait_in_step().await;
    }
}

/// The random workload: every kind of mapping, parents that take their children along, truncates,
/// rollbacks, rows that go from tenant to tenant. Daemons are killed at the points of a group, lose
/// replies, and stand still past their leases while another one works.
///
/// Whatever was visible to a tenant had been committed for it, no row of it went back, none was
/// written twice, and its cursor moved with its rows.
#[tokio::test]
async fn the_random_workload_over_one_database_survives_kills() {
    let workload = Workload::new(51);
    let tenants = (0..12).map(|n| format!("t{n}"));
    let plan = Workload::shared_plan(tenants).private_destination("t0").proxied("t0");
    let plan = plan.proxied_source().setting("/poller/lease", "1s");
    // Changes of several tenants are numbered at a time.
    let plan = plan.setting("/sequencer/interval", "50ms");
    let retry = serde_json::json!({ "initial": "50ms", "max": "500ms" });
    let plan = plan.setting("/sync/retry", retry).setting("/sync/statement_timeout", "2s");
    let mut world = plan.await;
    world.allow("*");
    world.set_variable("RUST_LOG", DEBUG);
    world.share_one_database();
    let first = world.tenant("t0");
    let url = first.proxy().url(&first.destination.url());
    let names: Vec<String> = world.tenants().iter().map(|tenant| tenant.name.clone()).collect();
    names.iter().for_each(|name| world.reach_by(name, |_| url.clone()));
    decoded::install(world.tenant("t0")).await;
    workload.prepare(&world).await;

    let daemon = world.daemon().await;
    workload.run(&world, Extent::Steps(20)).await;
    let write = async || {
        workload.run(&world, Extent::Steps(5)).await;
    };
    // On a busy machine, each tenant may have had a turn of its own so far.
    beside(works_together(&daemon), write).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    lose_replies(&world, &workload).await;
    oracle::assert_equal_after(&world, "after lost replies:").await;
    // It stands still past its leases, and goes on beside another one.
    let frozen = async {
        let before = daemon.failpoint_count("sync.after_read");
        daemon.set_failpoint("sync.after_read", "pause").await;
        daemon.wait_at_failpoint("sync.after_read", before + 1).await;
        freeze(&world, &daemon).await;
        let other = world.daemon().await;
        works_together(&other).await;
        daemon.thaw();
        daemon.clear_failpoints().await;
        other.stop().await;
    };
    beside(frozen, write).await;
    world.wait_in_step().await;
    oracle::assert_equal_after(&world, "after a daemon stood still:").await;
    daemon.stop().await;

    for point in ["sync.after_commit", "sync.before_complete"] {
        workload.run_until_killed(&world, point, works_together).await;
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal_after(&world, "after two kills:").await;
    daemon.stop().await;
    let seen = Decoded::read(&world.tenant("t0").destination).await;
    let (states, groups) = (seen.states(), seen.of_several_tenants());
    eprintln!("{states} states of rows, {groups} transactions of several tenants");
    assert!(states > 1000 && groups > 10, "{states} states, {groups} groups");
    seen.assert_sound(&world).await;
}

//! Ten tenants with the same keys, several writers, two daemons, and random faults of every kind.
//!
//! Invariants 1, 2, 3 and 5: afterwards every destination equals its queries. No row of another
//! tenant, and no row that was rolled back, was ever visible. No key went back to an older state.
//! Nothing visible was repeated. `make soak` runs OFFTAKE_SOAK_SEEDS seeds of OFFTAKE_SOAK_SECONDS
//! each. With OFFTAKE_SEED every run has that seed: the same writes and faults, but not at the same
//! moments.

use std::time::Duration;

use offtake_tests::chaos::Chaos;
use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{World, history, oracle};

/// Long enough for the lease of a killed daemon, and for the timeout of a destination that is
/// silent.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

/// With fewer writes the test proves nothing.
const COMMITTED_MIN: u64 = 100;

/// With fewer states of rows, in all destinations together, the test proves nothing either.
const STATES_MIN: usize = 1000;

#[tokio::test]
async fn tenants_stay_apart_seed_1() {
    run_unless_soaking(1).await;
}

#[tokio::test]
async fn tenants_stay_apart_seed_2() {
    run_unless_soaking(2).await;
}

/// Runs only in `make soak`.
#[tokio::test]
async fn tenants_stay_apart_for_long() {
    let Some(seeds) = number("OFFTAKE_SOAK_SEEDS") else {
        eprintln!("skipped: it runs for minutes; `make soak` runs it");
        return;
    };
    let duration = Duration::from_secs(number("OFFTAKE_SOAK_SECONDS").unwrap_or(20));
    for seed in 100..100 + seeds {
        run(seed, duration).await;
    }
}

async fn run_unless_soaking(seed: u64) {
    if number("OFFTAKE_SOAK_SEEDS").is_some() {
        eprintln!("skipped: OFFTAKE_SOAK_SEEDS is set, and the long run has seeds of its own");
        return;
    }
    run(seed, Duration::from_secs(8)).await;
}

async fn run(seed: u64, duration: Duration) {
    let workload = Workload::new(seed);
    eprintln!("seed {}", workload.seed());
    let mut chaos = Chaos::new(workload.seed());
    let tenants = (0..10).map(|number| format!("tenant{number}"));
    let plan = (0..5)
        .fold(Workload::plan(tenants), |plan, number| plan.proxied(&format!("tenant{number}")));
    let mut world = plan.proxied_source().setting("/poller/lease", "2s").await;
    workload.prepare(&world).await;
    // Only daemons get the short timeout, because they retry; `init` does not.
    world.configure(|c| {
        let retry = serde_json::json!({ "initial": "50ms", "max": "1s" });
        c["sync"] = serde_json::json!({ "statement_timeout": "3s", "connect_timeout": "1s", "retry": retry });
    });
    history::install(&world).await;

    let mut daemons = [world.daemon().await, world.daemon().await];
    let (mut totals, ()) = tokio::join!(
        workload.run(&world, Extent::For(duration)),
        chaos.run(&world, &mut daemons, duration)
    );
    // A slow machine runs until it has made enough writes.
    while totals.committed <= COMMITTED_MIN {
        totals = totals + workload.run(&world, Extent::Steps(10)).await;
    }

    world.wait_in_step_within(SETTLED_WITHIN).await;
    // Its daemons may also need more time to apply enough states.
    while states(&world).await <= STATES_MIN {
        totals = totals + workload.run(&world, Extent::Steps(10)).await;
        world.wait_in_step_within(SETTLED_WITHIN).await;
    }
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    eprintln!("seed {}: {totals:?}, {} states", workload.seed(), states(&world).await);
    for daemon in daemons {
        daemon.stop().await;
    }
}

async fn states(world: &World) -> usize {
    let mut sum = 0;
    for tenant in world.tenants() {
        sum += history::states(&tenant.destination).await;
    }
    sum
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

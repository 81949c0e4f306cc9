//! Ten tenants with the same keys everywhere, writers, two daemons, and everything that breaks, at
//! random.
//!
//! Invariants 1, 2, 3 and 5 of the design: afterwards every destination equals its queries; no row
//! of another tenant, and none that was rolled back, was ever visible; per key no state went
//! backwards; nothing visible was repeated. `make soak` runs more seeds: OFFTAKE_SOAK_SEEDS many,
//! OFFTAKE_SOAK_SECONDS each. With OFFTAKE_SEED every run has that seed: the same writes and
//! faults, though not at the same moments.

use std::time::Duration;

use offtake_tests::chaos::Chaos;
use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{World, history, oracle};

/// A request of a daemon that was killed waits for its lease; a destination that fell silent for
/// its deadline.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

/// Fewer writes would show nothing.
const COMMITTED_MIN: u64 = 100;

/// Nor would fewer states of rows in all destinations together.
const STATES_MIN: usize = 1000;

#[tokio::test]
async fn tenants_stay_apart_seed_1() {
    if number("OFFTAKE_SOAK_SEEDS").is_none() {
        run(1, Duration::from_secs(12)).await;
    }
}

#[tokio::test]
async fn tenants_stay_apart_seed_2() {
    if number("OFFTAKE_SOAK_SEEDS").is_none() {
        run(2, Duration::from_secs(12)).await;
    }
}

/// Does nothing but in `make soak`.
#[tokio::test]
async fn tenants_stay_apart_for_long() {
    let Some(seeds) = number("OFFTAKE_SOAK_SEEDS") else { return };
    let duration = Duration::from_secs(number("OFFTAKE_SOAK_SECONDS").unwrap_or(20));
    for seed in 100..100 + seeds {
        run(seed, duration).await;
    }
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
    // Of the daemons alone, which try again; `init` does not.
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
    // A slow machine takes the time that it needs for as many.
    while totals.committed <= COMMITTED_MIN {
        totals = totals + workload.run(&world, Extent::Steps(10)).await;
    }

    world.wait_in_step_within(SETTLED_WITHIN).await;
    // Nor need its daemons have had the time to show them.
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

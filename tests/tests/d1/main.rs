//! D1 databases as destinations of the live loop, by the real engine. Values and keys of every type
//! are in `values/`, which runs for all kinds.
//!
//! The tests are skipped where the engine is not installed; `scripts/ensure-receivers` installs it.

#![allow(clippy::unwrap_used)]

mod faults;
mod limits;
mod live;
mod tables;

use offtake_tests::items::{self, ITEMS, with_items, write};
use offtake_tests::{Plan, World, d1};

fn plan() -> Plan {
    with_items(World::with_tenants(["acme", "globex"]).in_d1())
}

/// Two tenants with their rows at the source. No daemon runs. None: there is no engine.
async fn world() -> Option<World> {
    filled(plan()).await
}

async fn filled(plan: Plan) -> Option<World> {
    if !d1::installed() {
        return None;
    }
    Some(items::filled(plan).await)
}

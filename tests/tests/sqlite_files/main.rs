//! SQLite files as destinations of the live loop: what holds for a Postgres destination, and what
//! only a file can do.
//!
//! Values and keys of every type are in `values/`, which runs for all kinds, and what every kind does
//! alike is in `kinds/`.

#![allow(clippy::unwrap_used)]

mod disks;
mod files;
mod late;
mod live;
mod readers;
mod refusals;
mod tables;

use offtake_tests::items::{ITEMS, filled, with_items, write};
use offtake_tests::{Plan, World};

fn plan() -> Plan {
    with_items(World::with_tenants(["acme", "globex"]).in_files())
}

/// Two tenants with their rows at the source. No daemon runs.
async fn world() -> World {
    filled(plan()).await
}

/// Changes one row of acme's, so that the daemon visits its destination.
async fn touch(world: &World) {
    write(world, "update other set body = body || '.' where {acme} and id = 1").await;
}

//! Every change that plain SQL makes at the source arrives, without any help of the application
//! (hazards H8 to H13, invariant 1).

#![allow(clippy::unwrap_used)]

mod past_triggers;
mod statements;
mod volume;

use offtake_tests::{Daemon, World};

/// A source with these tables, prepared for the world's mappings, and a daemon.
async fn start(world: &World, tables: &str) -> Daemon {
    world.source.execute(tables).await;
    world.succeed(&["init"]).await;
    world.daemon().await
}

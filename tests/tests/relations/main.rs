//! What a captured table is at the source: a relation in a tree of others, one that a subscription
//! writes, one that a crash empties, or nothing that triggers can capture.

#![allow(clippy::unwrap_used)]

mod kinds;
mod subscribers;
mod trees;
mod unlogged;

use offtake_tests::{Daemon, World};

/// A source with these tables, prepared for the world's mappings, and a daemon.
async fn start(world: &World, tables: &str) -> Daemon {
    world.source.execute(tables).await;
    world.succeed(&["init"]).await;
    world.daemon().await
}

/// A mapping of one table under its own name; `columns` beside the tenant's.
fn mapping(table: &str, columns: &str) -> String {
    format!(
        "source: {{ table: public.{table}, tenant: org }}\n\
         query: select org as tenant_id, {columns} from public.{table}\n\
         target: {{ table: {table} }}\n"
    )
}

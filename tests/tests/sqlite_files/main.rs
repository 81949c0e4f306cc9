//! SQLite files as destinations of the live loop: what holds for a Postgres destination, and what
//! only a file can do.
//!
//! Values and keys of every type are in `values/`, which runs for all kinds, and what every kind does
//! alike is in `kinds/`.

#![allow(clippy::unwrap_used)]

mod files;
mod late;
mod live;
mod refusals;
mod tables;

use offtake_tests::samples::OTHERS;
use offtake_tests::{Plan, World};
use serde_json::json;

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.code, i.name from public.item i
target: { table: items }
";

/// The rows that each tenant has in `item`.
const ROWS: usize = 300;

fn plan() -> Plan {
    let plan = World::with_tenants(["acme", "globex"]).in_files().without_init();
    plan.mappings(&[("items", ITEMS), ("others", OTHERS)])
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" }))
        .setting("/sync/batch_rows", 100)
}

/// Two tenants with their rows at the source. No daemon runs.
async fn world() -> World {
    filled(plan()).await
}

async fn filled(plan: Plan) -> World {
    let world = plan.await;
    let fill = format!(
        "insert into item select '{{tenant}}', n, 'c' || n, 'name ' || n from generate_series(1, {ROWS}) n"
    );
    world.with_items("code text, name text", &fill).await;
    world
}

/// Writes at the source; `{acme}` is the condition that a row is acme's.
async fn write(world: &World, statement: &str) {
    let acme = format!("tenant = '{}'", world.id("acme"));
    world.source.execute(&statement.replace("{acme}", &acme)).await;
}

/// Changes one row of acme's, so that the daemon visits its destination.
async fn touch(world: &World) {
    write(world, "update other set body = body || '.' where {acme} and id = 1").await;
}

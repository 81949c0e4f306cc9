//! D1 databases as destinations of the live loop, by the real engine. Values and keys of every type
//! are in `values/`, which runs for all kinds.
//!
//! The tests are skipped where the engine is not installed; `scripts/ensure-receivers` installs it.

#![allow(clippy::unwrap_used)]

mod faults;
mod live;
mod tables;

use offtake_tests::samples::OTHERS;
use offtake_tests::{Plan, World, d1};
use serde_json::json;

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.code, i.name from public.item i
target: { table: items }
";

/// The rows that each tenant has in `item`.
const ROWS: usize = 300;

fn plan() -> Plan {
    let plan = World::with_tenants(["acme", "globex"]).in_d1().without_init();
    plan.mappings(&[("items", ITEMS), ("others", OTHERS)])
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" }))
        .setting("/sync/batch_rows", 100)
}

/// Two tenants with their rows at the source. No daemon runs. None: there is no engine.
async fn world() -> Option<World> {
    filled(plan()).await
}

async fn filled(plan: Plan) -> Option<World> {
    if !d1::installed() {
        return None;
    }
    let world = plan.await;
    let fill = format!(
        "insert into item select '{{tenant}}', n, 'c' || n, 'name ' || n from generate_series(1, {ROWS}) n"
    );
    world.with_items("code text, name text", &fill).await;
    Some(world)
}

/// Writes at the source; `{acme}` is the condition that a row is acme's.
async fn write(world: &World, statement: &str) {
    let acme = format!("tenant = '{}'", world.id("acme"));
    world.source.execute(&statement.replace("{acme}", &acme)).await;
}

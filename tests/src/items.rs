//! The world of the tests of every kind of destination: two mappings, and tenants with some hundred
//! rows each.

use serde_json::json;

use crate::samples::OTHERS;
use crate::{Plan, World};

/// The columns `code` and `name` of `item`.
pub const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.code, i.name from public.item i
target: { table: items }
";

/// The rows that each tenant has in `item`.
const ROWS: usize = 300;

/// The plan with these mappings, batches smaller than a copy, and short pauses. `offtake init` has
/// not run.
pub fn with_items(plan: Plan) -> Plan {
    plan.without_init()
        .mappings(&[("items", ITEMS), ("others", OTHERS)])
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" }))
        .rows_at_once(100)
}

/// Its world, with the tenants' rows at the source. No daemon runs.
pub async fn filled(plan: Plan) -> World {
    let world = plan.await;
    let fill = format!(
        "insert into item select '{{tenant}}', n, 'c' || n, 'name ' || n from generate_series(1, {ROWS}) n"
    );
    world.with_items("code text, name text", &fill).await;
    world
}

/// Writes at the source; `{acme}` is the condition that a row is acme's.
pub async fn write(world: &World, statement: &str) {
    let acme = format!("tenant = '{}'", world.id("acme"));
    world.source.execute(&statement.replace("{acme}", &acme)).await;
}

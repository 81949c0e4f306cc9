//! The continuous audit, by the real binary: what differs is found, told everywhere, and over once
//! the copy equals its query again; and what it may not do.

#![allow(clippy::unwrap_used)]

mod budget;
mod found;
mod late;
mod left_alone;
mod state_table;
mod unprinted;

use offtake_tests::{Daemon, PATIENCE, Plan, World, until};
use serde_json::{Value, json};

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, body from public.item
target: { table: items }
";

const OTHERS: &str = "
source: { table: public.other, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, body from public.other
target: { table: others }
";

/// Tenants with two mappings each, whose copies are compared all the time.
fn plan(names: &[&str]) -> Plan {
    World::with_tenants(names.iter().copied())
        .mappings(&[("items", ITEMS), ("others", OTHERS)])
        .without_init()
        .setting("/audit", json!({ "period": "1s", "budget": "100%" }))
}

async fn world(plan: Plan, rows: u32) -> World {
    let world = plan.await;
    let fill = format!(
        "insert into item select '{{tenant}}', n, 'body ' || n from generate_series(1, {rows}) n"
    );
    world.with_items("body text", &fill).await;
    world
}

/// Reading a row takes 0.2 s, so every audit of a tenant takes at least that.
const SLOW: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, body, slow(id) as slow from public.item
target: { table: items }
";

/// Tenants with one row each, which is slow to read.
async fn slow_world(names: &[&str], audit: Value) -> World {
    let plan = World::with_tenants(names.iter().copied()).mappings(&[("items", SLOW)]);
    let world = plan.without_init().setting("/audit", audit).await;
    let function = "create function slow(id integer) returns integer language sql stable
                    as 'select slow.id from pg_sleep(0.2)'";
    world.source.execute(function).await;
    world.with_items("body text", "insert into item values ('{tenant}', 1, 'body')").await;
    world
}

/// The status of the tenant's destination.
async fn destination(daemon: &Daemon, world: &World, tenant: &str) -> Value {
    let status = daemon.status().await;
    let all = status["destinations"].as_array().unwrap().clone();
    let found = all.into_iter().find(|d| d["tenant"] == world.id(tenant));
    found.unwrap_or_else(|| panic!("{status:#}"))
}

/// Waits until the status of the tenant's destination is so, and returns it.
async fn until_told(
    daemon: &Daemon,
    world: &World,
    tenant: &str,
    (what, so): (&str, impl Fn(&Value) -> bool),
) -> Value {
    until(what, PATIENCE, async || {
        let told = destination(daemon, world, tenant).await;
        if so(&told) { Ok(told) } else { Err(format!("{told:#}")) }
    })
    .await
}

/// Waits until every copy of the tenant was found equal by an audit that began after now, and
/// returns the status of its destination.
async fn until_audited(daemon: &Daemon, world: &World, tenant: &str) -> Value {
    let now = world.source.query_text("select clock_timestamp()").await;
    let proved = format!(
        "select bool_and(coalesce(m.verified_at > '{now}', false)) from offtake.destination_mapping m
           join offtake.destination d using (destination_id) where d.tenant_id = '{}'",
        world.id(tenant)
    );
    world.source.wait_text(&proved, "t").await;
    destination(daemon, world, tenant).await
}

//! The tables at a destination: their types, their constraints and their encoding (H14, H18).

#![allow(clippy::unwrap_used)]

mod encodings;
mod foreign_keys;
mod interference;
mod sets;
mod unreadable;
mod verified;
mod widening;

use offtake_tests::{Daemon, PATIENCE, Plan, World, until};
use serde_json::{Value, json};

/// A source with these tables, which `init` has prepared for these mappings. `{acme}` in the
/// statements is the tenant's id.
async fn world(mappings: &[(&str, &str)], setup: &str) -> World {
    planned(World::with_tenants(["acme"]), mappings, setup).await
}

async fn planned(plan: Plan, mappings: &[(&str, &str)], setup: &str) -> World {
    let plan = plan.mappings(mappings).without_init();
    let world = plan.setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" })).await;
    write(&world, setup).await;
    world.succeed(&["init"]).await;
    world
}

async fn write(world: &World, statement: &str) {
    world.source.execute(&statement.replace("{acme}", world.id("acme"))).await;
}

/// Makes the daemon look at the source's types now, and not only every half a minute. Waits until
/// it uses what it found, and changes a row then, so that the destination is visited.
async fn reload(world: &World, daemon: &Daemon) {
    let uses = || daemon.log().iter().filter(|line| line.event == "mappings_loaded").count();
    let before = uses();
    daemon.request("POST", "/api/v1/reload", &[], "").await;
    until("the mappings are in use", PATIENCE, async || {
        if uses() > before { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    write(world, "update item set id = id where id = (select min(id) from item)").await;
}

async fn wait_there(world: &World, sql: &str, expect: &str) {
    world.tenant("acme").destination.wait_text(sql, expect).await;
}

async fn wait_quarantined(world: &World, expect: &str) {
    const QUARANTINED: &str = "select string_agg(concat(row_key ->> 'id', ' ', sqlstate), ', ' order by row_key ->> 'id') from offtake.quarantined_row";
    world.source.wait_text(QUARANTINED, expect).await;
}

/// What `offtake verify --json` says of each mapping, and its exit code.
async fn verify(world: &World) -> (Option<i32>, Vec<Value>) {
    let output = world.offtake(&["verify", "--json"]).await;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let reports = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (output.status.code(), reports)
}

//! H14, H16, H18, H19 and S12: a stranger changes a destination, or the source's tables that a
//! mapping reads. Offtake notices it, reports it, stops only that mapping, and recovers.

#![allow(clippy::unwrap_used)]

mod copies;
mod rows;
mod tables;

use offtake_tests::samples::{NAMES, OTHERS};
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use serde_json::{Value, json};

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.amount, i.label from public.item i
target: { table: items }
";

/// The same rows as `items`, for a destination that wants all of them or none.
const STRICT: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.amount from public.item i
target: { table: strict }
on_row_error: halt
";

const ROWS: usize = 400;

/// Two tenants with rows in both tables. The source is prepared; no daemon runs.
async fn world(more: &[(&str, &str)]) -> World {
    let mappings = [&[("items", ITEMS), ("names", NAMES), ("others", OTHERS)], more].concat();
    let world = World::with_tenants(["acme", "globex"]).mappings(&mappings).without_init();
    let world = world.setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" })).await;
    let fill = format!(
        "insert into item (tenant, id, name, label) select '{{tenant}}', n, 'name ' || n, 'label' from generate_series(1, {ROWS}) n"
    );
    world.with_items("amount integer not null default 1, name text, label text", &fill).await;
    world
}

async fn write(world: &World, statement: &str) {
    world
        .source
        .execute(&statement.replace("{acme}", &format!("tenant = '{}'", world.id("acme"))))
        .await;
}

/// Waits until the destination is blocked, the mapping's error has all these words, and no other
/// mapping has an error. Returns the error.
async fn wait_blocked(
    daemon: &Daemon,
    world: &World,
    tenant: &str,
    mapping: &str,
    words: &[&str],
) -> String {
    until(&format!("{mapping} is blocked with {words:?}"), PATIENCE, async || {
        let told = world.told(daemon, tenant).await;
        let all = told["mappings"].as_array().cloned().unwrap_or_default();
        let fits = |m: &Value| match m["error"].as_str() {
            Some(error) => m["name"] == mapping && words.iter().all(|word| error.contains(word)),
            None => m["name"] != mapping,
        };
        if told["state"] == "blocked" && !all.is_empty() && all.iter().all(fits) {
            let error = all.iter().find_map(|m| m["error"].as_str());
            Ok(error.unwrap_or_default().to_owned())
        } else {
            Err(told.to_string())
        }
    })
    .await
}

/// Waits until the blocked mapping has recovered: no error is reported any more, and every row has
/// arrived.
async fn wait_healed(daemon: &Daemon, world: &World, tenant: &str) {
    world.wait_told(daemon, tenant, "in_sync", &[]).await;
    world.wait_tenants_in_step(&[tenant], PATIENCE).await;
    oracle::assert_tenants_equal(world, &[tenant]).await;
}

async fn wait_for(world: &World, tenant: &str, sql: &str, expect: &str) {
    until(sql, PATIENCE, async || {
        let found = world.tenant(tenant).destination.try_query_text(sql).await?;
        if found == expect { Ok(()) } else { Err(format!("{found}, not {expect}")) }
    })
    .await;
}

/// Changes all rows of both tables. The changes of the mappings `names` and `others` must arrive at
/// the tenant's destination.
async fn assert_others_go_on(world: &World, tenant: &str, what: &str) {
    write(world, &format!("update item set name = '{what}'; update other set body = '{what}'"))
        .await;
    let arrived = format!(
        "select (select count(*) from names where name = '{what}'), (select count(*) from others where body = '{what}')"
    );
    wait_for(world, tenant, &arrived, &format!("{ROWS}|10")).await;
}

/// Changes one row of one table, so that the daemon visits the destination. Then every copy must be
/// right.
async fn assert_noticed(world: &World, daemon: &Daemon, what: &str) {
    println!("{what}");
    write(world, "update other set body = body || '.' where {acme} and id = 1").await;
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    wait_healed(daemon, world, "acme").await;
}

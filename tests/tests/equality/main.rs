//! One notion of equality: a tenant's id and a key are the same for the initial copy, which finds
//! rows by value, and for live changes, which are found by text (docs/equality.md).

mod keys;
mod tenants;

use offtake_tests::{PATIENCE, World, oracle, until};
use serde_json::json;

fn mapping(table: &str) -> String {
    format!(
        "source: {{ table: public.{table}, tenant: org }}\n\
         query: select org as tenant_id, id, note from {table}\ntarget: {{ table: {table} }}\n"
    )
}

/// A world with one destination per (mapping, tenant), in this order.
async fn world(mappings: &[(String, String)], destinations: &[(String, String)]) -> World {
    let names = (0..destinations.len()).map(|at| format!("d{at}"));
    let mut world =
        World::with_tenants(names).computed_mappings(mappings.iter().cloned()).without_init().await;
    world.configure(|configuration| {
        for (at, (mapping, tenant)) in destinations.iter().enumerate() {
            let destination = &mut configuration["destinations"]["static"][at];
            destination["tenant"] = tenant.as_str().into();
            destination["name"] = format!("d{at}").into();
            destination["mappings"] = json!([mapping]);
        }
    });
    world
}

/// Waits until the copy in the destination's database equals the query for the tenant as the
/// source prints it.
async fn equal(world: &World, at: usize, table: &str, tenant: &str, what: &str) {
    let mappings = world.mappings();
    let mapping = mappings.iter().find(|m| m.name == table).expect("a mapping of that name");
    let destination = &world.tenant(&format!("d{at}")).destination;
    until(&format!("{table} equals its query: {what}"), PATIENCE, async || {
        destination.try_query_text(&format!("select count(*) from {table}")).await?;
        let found = oracle::compare(&world.source, tenant, mapping, destination, "public").await;
        match found.missing.is_empty() && found.surplus.is_empty() {
            true => Ok(()),
            false => Err(found.to_string()),
        }
    })
    .await;
}

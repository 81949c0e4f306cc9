//! What a turn of a webhook promises: nothing lost, per key never backwards, and one broken receiver
//! delays only itself.

#![allow(clippy::unwrap_used)]

mod delivery;
mod options;
mod receiver;
mod refusals;
mod resyncs;
mod together;

use std::collections::BTreeMap;

use offtake_tests::{PATIENCE, World, until};
use serde_json::{Value, json};

use self::receiver::Receiver;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A world without destinations, with one webhook of each tenant that is told of users.
async fn world(tenants: &[&str], settings: Value) -> (World, Vec<Receiver>) {
    let mut world = World::with_tenants(tenants.iter().copied()).await;
    let mut receivers = Vec::new();
    let mut webhooks = Vec::new();
    for tenant in tenants {
        let receiver = Receiver::start().await;
        let mut webhook = json!({
            "tenant": world.id(tenant), "url": receiver.url(), "secret": SECRET,
            "mappings": ["users"], "timeout": "2s",
        });
        merge(&mut webhook, &settings);
        webhooks.push(webhook);
        receivers.push(receiver);
    }
    world.configure(|configuration| {
        configuration["destinations"] = json!({});
        configuration["poller"] = json!({ "lease": "2s" });
        configuration["webhooks"] = json!({
            "static": webhooks,
            "refresh": "1s",
            "retry": { "initial": "100ms", "max": "500ms", "events": ["200ms", "1h"] },
        });
    });
    for event in ["webhook_unwell", "event_quarantined", "webhook_disabled"] {
        world.allow(event);
    }
    (world, receivers)
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

/// The tenant's users by the query, as the receiver's map has them.
async fn users(world: &World, tenant: &str) -> BTreeMap<String, Value> {
    let mappings = world.mappings();
    let query = &mappings.iter().find(|m| m.name == "users").unwrap().query;
    let id = world.id(tenant);
    let rows = world
        .source
        .query_text(&format!(
            "select coalesce(json_object_agg(json_build_object('id', q.id)::text, to_jsonb(q) - 'tenant_id'), '{{}}')::text
               from (set_utc) s, ({query}) q where q.tenant_id = '{id}'"
        ).replace("(set_utc) s", "(select set_config('timezone', 'UTC', false) offset 0) s"))
        .await;
    let rows: BTreeMap<String, Value> = serde_json::from_str(&rows).unwrap();
    rows.into_iter().map(|(key, row)| (key.replace(" : ", ":"), row)).collect()
}

/// Waits until the receiver's picture is the query's.
async fn wait_equal(world: &World, tenant: &str, receiver: &Receiver) {
    let told = format!("{tenant}'s receiver knows what the query says");
    until(&told, PATIENCE, async || {
        let (wanted, found) = (users(world, tenant).await, receiver.rows("users"));
        match wanted == found {
            true => Ok(()),
            false => Err(format!(
                "wanted {} rows, found {}: {}",
                wanted.len(),
                found.len(),
                state(world).await
            )),
        }
    })
    .await;
}

async fn state(world: &World) -> String {
    world
        .source
        .query_text(
            "select coalesce(string_agg(concat_ws(' ', w.name, w.state, w.reason, w.sequence_id, w.consecutive_failures,
                                 (select json_agg(m) from offtake.webhook_mapping m where m.webhook_id = w.webhook_id),
                                 (select json_agg(r) from offtake.outgoing_request r where r.webhook_id = w.webhook_id)), E'\n'), 'no webhook')
               from offtake.webhook w",
        )
        .await
}

/// Waits until the daemon knows the webhooks: from then on changes are told.
async fn wait_registered(world: &World, count: usize) {
    world.source.wait_text("select count(*)::text from offtake.webhook", &count.to_string()).await;
    world
        .source
        .wait_text("select count(*)::text from offtake.webhook_mapping", &count.to_string())
        .await;
}

async fn add_user(world: &World, tenant: &str, name: &str) {
    let id = world.id(tenant);
    world
        .source
        .execute(&format!(
            "insert into project_user (tenancy_id, project_user_id, display_name) values ('{id}', md5('{name}')::uuid, '{name}')"
        ))
        .await;
}

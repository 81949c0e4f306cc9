//! What people touch of webhooks: the commands, the HTTP routes and the dashboard. All against the
//! real binary and a receiver on loopback.

#![allow(clippy::unwrap_used)]

mod checked;
mod commands;
mod dashboard;
mod http;

use offtake_tests::receiver::{HIDDEN_PATH, HIDDEN_QUERY, Receiver, SECRET};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

const ADMIN: &str = "an-admin-token-of-some-length-0000000000000";
const READER: &str = "a-read-token-of-some-length-000000000000000";
const OWN_HEADER: &str = "Bearer header-that-is-secret";

/// A tenant with ten users, a webhook that is told of them, and a daemon.
async fn told(options: Value) -> (World, Receiver, Daemon) {
    let mut world = World::with_tenants(["acme"])
        .setting("/http/admin_token", ADMIN)
        .setting("/http/read_token", READER)
        .await;
    world.fill(10).await;
    world.succeed(&["run", "--once"]).await;
    let receiver = Receiver::start().await;
    let mut all = json!({ "mappings": ["users"], "headers": { "Authorization": OWN_HEADER } });
    for (name, value) in options.as_object().unwrap() {
        all[name] = value.clone();
    }
    world.add_webhook("acme", &receiver, all);
    let daemon = world.daemon().await;
    let registered = "select count(*) from offtake.webhook_mapping";
    world.source.wait_text(registered, "1").await;
    // The turn of the registration has ended: what is paused or disabled now is told nothing.
    let owed = "select count(*) from offtake.outgoing_request where kind = 'webhook'";
    world.source.wait_text(owed, "0").await;
    (world, receiver, daemon)
}

/// Exit code, and both outputs, of `offtake webhook` with these arguments for acme's webhook.
async fn webhook(world: &World, verb: &str, more: &[&str]) -> (i32, String) {
    let of = ["webhook", verb, "--tenant", world.id("acme"), "--name", "main"];
    let output = world.offtake(&[&of[..], more].concat()).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(!told.contains("panicked"), "{told}");
    assert_nothing_secret(&told);
    (output.status.code().unwrap(), told)
}

/// The same, but the command must succeed.
async fn done(world: &World, verb: &str, more: &[&str]) -> String {
    let (code, told) = webhook(world, verb, more).await;
    assert_eq!(code, 0, "{verb} {more:?}: {told}");
    told
}

fn assert_nothing_secret(text: &str) {
    for secret in [HIDDEN_PATH, HIDDEN_QUERY, &SECRET[8..], "header-that-is-secret"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

async fn insert_user(world: &World, name: &str) {
    let sql = format!(
        "insert into public.project_user (tenancy_id, project_user_id, display_name) \
         values ('{}', md5('{name}')::uuid, '{name}')",
        world.id("acme")
    );
    world.source.execute(&sql).await;
}

/// The user's key, as the mapping has it.
async fn key_of(world: &World, name: &str) -> String {
    world.source.query_text(&format!("select md5('{name}')::uuid")).await
}

/// The webhook as HTTP tells it, once it is in this state.
async fn in_state(daemon: &Daemon, world: &World, state: &str) -> Value {
    let path = format!("/api/v1/webhooks/{}/main", world.id("acme"));
    until(&format!("the webhook is {state}"), PATIENCE, async || {
        let (code, text) = ask_as(daemon, READER, "GET", &path, "").await;
        assert_nothing_secret(&text);
        let webhook: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match code == 200 && webhook["state"] == state {
            true => Ok(webhook),
            false => Err(format!("{code}: {webhook:#}")),
        }
    })
    .await
}

/// Status and body.
async fn ask_as(
    daemon: &Daemon,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    daemon.request(method, path, &[("Authorization", &format!("Bearer {token}"))], body).await
}

//! The HTTP API against its own document, and what a tenant sees of its copies. All against the
//! real binary.

#![allow(clippy::unwrap_used)]

mod described;
mod generated;
mod tenant_page;
mod tenant_tokens;

use offtake_tests::receiver::Receiver;
use offtake_tests::samples::USERS;
use offtake_tests::{Daemon, World};
use serde_json::{Value, json};

const ADMIN: &str = "an-admin-token-of-some-length-0000000000000";
const READER: &str = "a-read-token-of-some-length-000000000000000";
const STATUS_SECRET: &str = "a-status-secret-of-some-length-0000000000";

/// Two tenants with some users. Acme has a webhook too, and one user that its database refuses.
async fn two_tenants() -> (World, Receiver, Daemon) {
    let mut world = World::with_tenants(["acme", "globex"])
        .mappings(&[("users", USERS)])
        .setting("/http/admin_token", ADMIN)
        .setting("/http/read_token", READER)
        .setting("/http/status_secret", STATUS_SECRET)
        .setting("/stores", json!({ "disk": { "kind": "disk", "path": "files" } }))
        .setting("/exports", json!({ "store": "disk" }))
        .await;
    world.allow("rows_quarantined");
    world.fill(5).await;
    let refuse = "create table users (id uuid primary key, display_name text check (display_name <> 'refused')); \
                  comment on table users is 'offtake:users'";
    world.tenant("acme").destination.execute(refuse).await;
    let receiver = Receiver::start().await;
    world.add_webhook("acme", &receiver, json!({ "mappings": ["users"] }));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let insert = format!(
        "insert into public.project_user (tenancy_id, project_user_id, display_name) \
         values ('{}', md5('refused')::uuid, 'refused')",
        world.id("acme")
    );
    world.source.execute(&insert).await;
    world.source.wait_text("select count(*) from offtake.quarantined_row", "1").await;
    (world, receiver, daemon)
}

/// Status and body.
async fn ask_as(daemon: &Daemon, token: &str, path: &str) -> (u16, String) {
    daemon.request("GET", path, &[("Authorization", &format!("Bearer {token}"))], "").await
}

/// The document that the daemon serves.
async fn document(daemon: &Daemon) -> Value {
    let (code, text) = ask_as(daemon, READER, "/api/v1/openapi.json").await;
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

//! Webhooks of the query: a bad row concerns only its own webhook.

use offtake_tests::receiver::{Receiver, SECRET};
use offtake_tests::{PATIENCE, World, until};
use serde_json::json;

use super::told::{insert_user, registered};

const QUERY: &str =
    "select tenant_id, name, url, secret, filter, headers, events, mappings from public.hook";
const TABLE: &str = "create table public.hook (tenant_id text, name text, url text, secret text[], filter jsonb, headers jsonb, \
    events text[], mappings text[])";

/// Every kind of bad row, beside one that is good; none names its secret in its reason.
#[tokio::test]
async fn a_bad_row_of_the_query_is_refused_alone_with_its_reason() {
    let mut world = World::with_tenants(["acme"]).await;
    let receiver = Receiver::start().await;
    world.source.execute(TABLE).await;
    let good = format!("'{{{SECRET}}}'");
    let bad = [
        (
            "url",
            "'ftp://hooks.example.com/hidden'",
            good.as_str(),
            "null",
            "null",
            "null",
            "null",
            "https",
        ),
        (
            "secret",
            "'https://hooks.example.com/a'",
            "'{hidden}'",
            "null",
            "null",
            "null",
            "null",
            "whsec_",
        ),
        (
            "nosecret",
            "'https://hooks.example.com/a'",
            "null",
            "null",
            "null",
            "null",
            "null",
            "secret",
        ),
        (
            "filter",
            "'https://hooks.example.com/a'",
            &good,
            "'{\"no_such_column\": [\"a\"]}'",
            "null",
            "null",
            "null",
            "no_such_column",
        ),
        (
            "headers",
            "'https://hooks.example.com/a'",
            &good,
            "null",
            "'{\"Host\": \"hidden\"}'",
            "null",
            "null",
            "Host",
        ),
        (
            "events",
            "'https://hooks.example.com/a'",
            &good,
            "null",
            "null",
            "'{created}'",
            "null",
            "upserted, deleted or both",
        ),
        (
            "mappings",
            "'https://hooks.example.com/a'",
            &good,
            "null",
            "null",
            "null",
            "'{userz}'",
            "userz",
        ),
    ];
    let tenant = world.id("acme").to_owned();
    for (name, url, secret, filter, headers, events, mappings, _) in bad {
        let insert = format!(
            "insert into hook values ('{tenant}', '{name}', {url}, {secret}, {filter}, {headers}, {events}, {mappings})"
        );
        world.source.execute(&insert).await;
    }
    let insert =
        format!("insert into hook values ('{tenant}', 'main', '{}', {good})", receiver.url());
    world.source.execute(&insert).await;
    world.configure(|configuration| {
        configuration["webhooks"] = json!({ "query": QUERY, "refresh": "200ms", "retry": { "initial": "100ms", "max": "500ms" } });
    });
    world.allow("webhook_refused");
    let daemon = world.daemon().await;
    registered(&world).await;
    insert_user(&world, "Ann").await;
    receiver.wait_event("users.upserted").await;
    for (name, .., says) in bad {
        until(&format!("{name} is refused"), PATIENCE, async || {
            let (status, body) = daemon.get(&format!("/api/v1/webhooks/{tenant}/{name}")).await;
            let refused = status == 200 && body.contains("\"blocked\"") && body.contains(says);
            assert!(!body.contains("hidden"), "{body}");
            if refused { Ok(()) } else { Err(body) }
        })
        .await;
    }
    daemon.stop().await;
}

/// Two names are too many where one is allowed, and the reason says how many are.
#[tokio::test]
async fn a_tenant_has_no_more_webhooks_than_the_operator_allows() {
    let mut world = World::with_tenants(["acme"]).await;
    let receiver = Receiver::start().await;
    world.source.execute(TABLE).await;
    for name in ["main", "second", "third"] {
        let insert = format!(
            "insert into hook values ('{}', '{name}', '{}', '{{{SECRET}}}')",
            world.id("acme"),
            receiver.url()
        );
        world.source.execute(&insert).await;
    }
    world.configure(|configuration| {
        configuration["webhooks"] = json!({ "query": QUERY, "refresh": "200ms", "per_tenant": 2 });
    });
    world.allow("webhook_refused");
    let daemon = world.daemon().await;
    world.source.wait_text("select count(*), count(refused) from offtake.webhook", "3|1").await;
    let refused = world
        .source
        .query_text("select refused from offtake.webhook where refused is not null")
        .await;
    assert!(refused.contains('2') && refused.contains("per_tenant"), "{refused}");
    daemon.stop().await;
}

/// A misspelt mapping leaves the webhook with the others, and its state says so until it is mended.
#[tokio::test]
async fn a_row_that_lists_a_mapping_that_is_not_there_is_told_of_the_others_and_says_so() {
    let mut world = World::with_tenants(["acme"]).await;
    let receiver = Receiver::start().await;
    world.source.execute(TABLE).await;
    let insert = format!(
        "insert into hook (tenant_id, name, url, secret, mappings) values ('{}', 'main', '{}', '{{{SECRET}}}', '{{users,teems}}')",
        world.id("acme"),
        receiver.url()
    );
    world.source.execute(&insert).await;
    world.configure(|configuration| {
        configuration["webhooks"] = json!({ "query": QUERY, "refresh": "200ms" });
    });
    world.allow("webhook_incomplete");
    let daemon = world.daemon().await;
    registered(&world).await;
    insert_user(&world, "Ann").await;
    receiver.wait_event("users.upserted").await;
    let says = ["`mappings` lists teems", "did you mean `teams`?", "told of the others only"];
    world.wait_webhook(&daemon, "acme", "blocked", &says).await;
    daemon.wait_logged("webhook_incomplete").await;
    let listed = world.succeed(&["webhook", "list"]).await;
    assert!(listed.contains("did you mean `teams`?"), "{listed}");
    world.source.execute("update hook set mappings = '{users,teams}'").await;
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    let told = daemon.log().iter().filter(|line| line.event == "webhook_incomplete").count();
    assert_eq!(told, 1, "once, and not with every refresh");
    receiver.assert_content();
    daemon.stop().await;
}

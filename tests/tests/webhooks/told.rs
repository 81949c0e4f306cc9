//! What a webhook is told, and that nothing of it is lost.

use std::time::Duration;

use offtake_tests::receiver::{Play, Receiver};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::json;

/// One user of that name in acme.
pub(crate) async fn insert_user(world: &World, name: &str) {
    let sql = format!(
        "insert into public.project_user (tenancy_id, project_user_id, display_name) \
         values ('{}', md5('{name}')::uuid, '{name}')",
        world.id("acme")
    );
    world.source.execute(&sql).await;
}

/// A world with one tenant, ten users and a webhook that is told of users only.
pub(crate) async fn users_world(options: serde_json::Value) -> (World, Receiver) {
    let mut world = World::with_tenants(["acme"]).await;
    world.fill(10).await;
    // A change that is not numbered yet when a webhook is registered is told.
    world.succeed(&["run", "--once"]).await;
    let receiver = Receiver::start().await;
    let mut all = json!({ "mappings": ["users"] });
    for (name, value) in options.as_object().unwrap() {
        all[name] = value.clone();
    }
    world.add_webhook("acme", &receiver, all);
    (world, receiver)
}

/// Waits until the daemon has registered every webhook: what is committed from now on is told.
pub(crate) async fn registered(world: &World) {
    let unregistered = "select count(*) from offtake.webhook w where active and refused is null \
        and not exists (select from offtake.webhook_mapping m where m.webhook_id = w.webhook_id)";
    until("a webhook is registered", PATIENCE, async || {
        let known = world.source.try_query_text("select count(*) from offtake.webhook").await?;
        let bare = world.source.try_query_text(unregistered).await?;
        if known != "0" && bare == "0" {
            return Ok(());
        }
        let all = "select string_agg(w::text, ' ') from offtake.webhook w";
        Err(world.source.try_query_text(all).await?)
    })
    .await;
}

pub(crate) async fn daemon_with_webhooks(world: &World) -> Daemon {
    let daemon = world.daemon().await;
    registered(world).await;
    daemon
}

#[tokio::test]
async fn an_insert_an_update_and_a_deletion_are_told() {
    let (world, receiver) = users_world(json!({})).await;
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    let requests = receiver.wait_requests(1).await;
    let (request, event) = (&requests[0], &requests[0].event);
    assert_eq!(event["type"], "users.upserted");
    assert_eq!((&event["tenant"], &event["mapping"]), (&world.id("acme").into(), &"users".into()));
    assert_eq!(event["data"]["display_name"], "Ann");
    assert_eq!(event["key"], json!({ "id": event["data"]["id"] }));
    assert!(event["data"].get("tenant_id").is_none(), "{event}");
    assert!(request.header("user-agent").starts_with("Offtake/"), "{:?}", request.headers);
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("offtake-attempt"), "1");
    let id = request.id();
    assert!(id.starts_with("evt_") && id.len() == 30 && !id.contains('.'), "{id}");
    // What was there before the webhook was registered is not told.
    assert_eq!(receiver.kinds(), ["users.upserted"]);

    world
        .source
        .execute("update project_user set display_name = 'Bea' where display_name = 'Ann'")
        .await;
    let requests = receiver.wait_requests(2).await;
    assert_eq!(requests[1].event["data"]["display_name"], "Bea");
    assert_ne!(requests[1].id(), id);
    world.source.execute("delete from project_user where display_name = 'Bea'").await;
    let requests = receiver.wait_requests(3).await;
    assert_eq!(requests[2].kind(), "users.deleted");
    assert_eq!(
        (&requests[2].event["key"], &requests[2].event["data"]),
        (&event["key"], &json!(null))
    );
    world.wait_webhooks_told(PATIENCE).await;
    let sequence_ids: Vec<i64> = requests
        .iter()
        .map(|request| request.event["sequence_id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(sequence_ids.is_sorted(), "{sequence_ids:?}");
    receiver.assert_content();
    daemon.stop().await;
}

/// Changes that were committed while no daemon ran, or that a dead one had in its hands, are told.
#[tokio::test]
async fn a_restart_and_a_kill_lose_nothing() {
    let (world, receiver) = users_world(json!({ "timeout": "5s" })).await;
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    receiver.wait_requests(1).await;
    daemon.stop().await;
    insert_user(&world, "Bob").await;
    let mut daemon = world.daemon().await;
    receiver.wait_requests(2).await;
    // Killed while the request is on its way, and no answer came.
    receiver.play(|_| Play::Silent);
    insert_user(&world, "Cyd").await;
    receiver.wait_requests(3).await;
    daemon.kill();
    receiver.play(|_| Play::OK);
    let daemon = world.daemon().await;
    let requests = receiver.wait_requests(4).await;
    assert_eq!(
        requests[3].id(),
        requests[2].id(),
        "the same content has the same id after a crash"
    );
    world.wait_webhooks_told(PATIENCE).await;
    let names: Vec<_> = requests.iter().map(|r| r.event["data"]["display_name"].clone()).collect();
    assert_eq!(names, ["Ann", "Bob", "Cyd", "Cyd"]);
    receiver.assert_content();
    daemon.stop().await;
}

/// The first of the two promises of an event: it says what is, not what was.
#[tokio::test]
async fn many_changes_of_a_key_are_one_event_with_the_newest_state() {
    let (world, receiver) = users_world(json!({})).await;
    let daemon = daemon_with_webhooks(&world).await;
    world.allow("webhook_unwell");
    receiver.play(|_| Play::Status(503));
    insert_user(&world, "Ann").await;
    receiver.wait_requests(1).await;
    for number in 0..20 {
        let sql = format!(
            "update project_user set display_name = 'Ann {number}' where display_name like 'Ann%'"
        );
        world.source.execute(&sql).await;
    }
    receiver.play(|_| Play::OK);
    world.wait_webhooks_told(PATIENCE).await;
    let requests = receiver.requests();
    let last = requests.last().unwrap();
    assert_eq!(last.event["data"]["display_name"], "Ann 19");
    let first = &requests[0];
    assert_ne!(first.id(), last.id(), "newer content is another event");
    receiver.assert_content();
    daemon.stop().await;
}

/// A row that leaves the filter is deleted, and one that moves to another tenant is deleted there
/// and appears here.
#[tokio::test]
async fn rows_that_leave_a_filter_or_a_tenant_are_deleted() {
    let mut world = World::with_tenants(["acme", "globex"]).await;
    let (acme, globex) = (Receiver::start().await, Receiver::start().await);
    for (tenant, receiver) in [("acme", &acme), ("globex", &globex)] {
        world.add_webhook(tenant, receiver, json!({ "mappings": ["users"] }));
    }
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    acme.wait_event("users.upserted").await;
    let to = format!(
        "update project_user set tenancy_id = '{}' where display_name = 'Ann'",
        world.id("globex")
    );
    world.source.execute(&to).await;
    acme.wait_event("users.deleted").await;
    assert_eq!(globex.wait_event("users.upserted").await["data"]["display_name"], "Ann");
    world.source.execute("update project_user set is_anonymous = true").await;
    globex.wait_event("users.deleted").await;
    world.wait_webhooks_told(PATIENCE).await;
    acme.assert_equal(&world, "acme", &["users"]).await;
    globex.assert_equal(&world, "globex", &["users"]).await;
    daemon.stop().await;
}

/// A joined table's change is an event of the mapping that reads it.
#[tokio::test]
async fn a_change_of_a_joined_table_is_told() {
    let (world, receiver) = users_world(json!({})).await;
    let daemon = daemon_with_webhooks(&world).await;
    let sql = "update public.contact_channel set value = 'ada@new.example' where (tenancy_id, project_user_id) = \
        (select tenancy_id, project_user_id from project_user where not is_anonymous order by project_user_id limit 1) \
        and type = 'email'";
    world.source.execute(sql).await;
    let event = receiver.wait_event("users.upserted").await;
    assert_eq!(event["data"]["primary_email"], "ada@new.example");
    daemon.stop().await;
}

#[tokio::test]
async fn only_the_kinds_and_rows_that_are_wanted_are_told() {
    let options = json!({ "events": ["deleted"], "where": "display_name <> 'hidden'" });
    let (world, receiver) = users_world(options).await;
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    insert_user(&world, "hidden").await;
    world.wait_webhooks_told(PATIENCE).await;
    // A row that no longer meets `where` is as good as gone.
    world
        .source
        .execute("update project_user set display_name = 'hidden' where display_name = 'Ann'")
        .await;
    receiver.wait_event("users.deleted").await;
    world.wait_webhooks_told(PATIENCE).await;
    assert!(receiver.kinds().iter().all(|kind| kind == "users.deleted"), "{:?}", receiver.kinds());
    daemon.stop().await;
}

#[tokio::test]
async fn with_payload_key_no_value_leaves() {
    let (world, receiver) = users_world(json!({ "payload": "key" })).await;
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    let event = receiver.wait_event("users.upserted").await;
    assert!(event["key"]["id"].is_string() && event["data"].is_null(), "{event}");
    assert!(!String::from_utf8_lossy(&receiver.requests()[0].body).contains("Ann"));
    daemon.stop().await;
}

/// With one request in flight, the receiver sees the order of the sequence ids. A key is never in
/// two requests at once, however many there are.
#[tokio::test]
async fn sequence_order_with_one_lane_and_key_order_with_many() {
    for lanes in [1, 8] {
        let (world, receiver) = users_world(json!({ "concurrency": lanes })).await;
        receiver.play(|_| Play::OK.after(Duration::from_millis(5)));
        let daemon = daemon_with_webhooks(&world).await;
        for _ in 0..5 {
            world
                .source
                .execute("update project_user set display_name = display_name || '.'")
                .await;
        }
        world.wait_webhooks_told(PATIENCE).await;
        let of = |name: &str| -> Vec<i64> {
            receiver
                .requests()
                .iter()
                .map(|r| r.event[name].as_str().unwrap().parse().unwrap())
                .collect()
        };
        if lanes == 1 {
            assert!(of("sequence_id").is_sorted(), "{:?}", of("sequence_id"));
        }
        receiver.assert_content();
        receiver.assert_equal(&world, "acme", &["users"]).await;
        daemon.stop().await;
    }
}

/// A batch holds several events with ids of their own; a key is in it once.
#[tokio::test]
async fn batches_hold_events_with_their_own_ids() {
    let (world, receiver) = users_world(json!({ "batch": { "events": 4 } })).await;
    let daemon = daemon_with_webhooks(&world).await;
    world.source.execute("update project_user set display_name = display_name || '.'").await;
    world.wait_webhooks_told(PATIENCE).await;
    let requests = receiver.requests();
    assert!(requests.iter().all(|request| request.kind() == "offtake.batch"));
    for request in &requests {
        let events = request.events();
        assert!((1..=4).contains(&events.len()), "{}", events.len());
        let keys: std::collections::BTreeSet<_> =
            events.iter().map(|(_, event)| event["key"].to_string()).collect();
        assert_eq!(keys.len(), events.len(), "a key is twice in a batch");
        assert!(events.iter().all(|(id, _)| id.starts_with("evt_") && *id != request.id()));
    }
    assert!(requests.iter().any(|request| request.events().len() == 4));
    receiver.assert_content();
    daemon.stop().await;
}

//! What a webhook's options change.

use offtake_tests::PATIENCE;
use serde_json::json;

use super::receiver::Answer;
use super::*;

#[tokio::test]
async fn a_condition_of_the_file_decides_which_rows_are_told() {
    let settings = json!({ "where": "display_name like 'in%' -- only these" });
    let (world, receivers) = world(&["acme"], settings).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    for name in ["in1", "out", "in2"] {
        add_user(&world, "acme", name).await;
    }
    let told = async || {
        let rows = receivers[0].rows("users");
        let mut names: Vec<String> =
            rows.values().map(|row| row["display_name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    until("what is accepted is told", PATIENCE, async || match told().await {
        names if names == ["in1", "in2"] => Ok(()),
        names => Err(format!("{names:?}")),
    })
    .await;
    world
        .source
        .execute("update project_user set display_name = 'gone' where display_name = 'in1'")
        .await;
    until("what is not accepted any more is deleted", PATIENCE, async || match told().await {
        names if names == ["in2"] => Ok(()),
        names => Err(format!("{names:?}")),
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn keys_only_and_upserts_only() {
    let (world, receivers) =
        world(&["acme"], json!({ "payload": "key", "events": ["upserted"], "timeout": "20s" }))
            .await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    add_user(&world, "acme", "a").await;
    until("it is told", PATIENCE, async || match receivers[0].requests().len() {
        0 => Err("not yet".to_owned()),
        _ => Ok(()),
    })
    .await;
    world.source.execute("delete from project_user").await;
    world.source.wait_text("select exists (select from offtake.deleted_row)::text", "true").await;
    world.wait_webhooks_told(PATIENCE).await;
    let requests = receivers[0].requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].body["data"], Value::Null);
    assert!(requests[0].body["key"]["id"].is_string());
    daemon.stop().await;
}

#[tokio::test]
async fn with_halt_a_webhook_waits_at_the_event_that_is_refused() {
    let settings = json!({ "on_event_error": "halt", "concurrency": 1 });
    let (world, receivers) = world(&["acme"], settings).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    receivers[0].answer(|_| Answer::of(422));
    add_user(&world, "acme", "a").await;
    world.source.wait_text("select state from offtake.webhook", "blocked").await;
    let reason = world.source.query_text("select reason from offtake.webhook").await;
    assert!(reason.contains("halt"), "{reason}");
    assert_eq!(
        world.source.query_text("select count(*)::text from offtake.quarantined_event").await,
        "0"
    );
    receivers[0].answer(|_| Answer::of(200));
    wait_equal(&world, "acme", &receivers[0]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_fuse_stops_one_webhook_and_a_mapping() {
    let (world, receivers) = world(&["acme", "globex"], json!({})).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 2).await;
    // The turns of the registration have ended.
    world.wait_webhooks_told(PATIENCE).await;
    let fuse = format!("webhook:{}/main", world.id("acme"));
    world.succeed(&["fuse", "off", &fuse, "--reason", "test"]).await;
    daemon.wait_fuse(&fuse, true).await;
    for tenant in ["acme", "globex"] {
        add_user(&world, tenant, tenant).await;
    }
    wait_equal(&world, "globex", &receivers[1]).await;
    assert!(receivers[0].requests().is_empty());
    world.succeed(&["fuse", "on", &fuse, "--reason", "test"]).await;
    wait_equal(&world, "acme", &receivers[0]).await;
    world.source.wait_text("select count(*)::text from offtake.outgoing_request", "0").await;

    world.succeed(&["fuse", "off", "mapping:users", "--reason", "test"]).await;
    daemon.wait_fuse("mapping:users", true).await;
    let sent = receivers[0].requests().len();
    add_user(&world, "acme", "untold").await;
    world.source.wait_text("select count(*)::text from offtake.outgoing_request", "1").await;
    for _ in 0..2 {
        daemon.wait_round("webhooks").await;
    }
    assert_eq!(receivers[0].requests().len(), sent);
    world.succeed(&["fuse", "on", "mapping:users", "--reason", "test"]).await;
    wait_equal(&world, "acme", &receivers[0]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_replay_tells_what_changed_once_more_with_new_ids() {
    let (world, receivers) = world(&["acme"], json!({ "timeout": "20s" })).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    for name in ["a", "b", "c"] {
        add_user(&world, "acme", name).await;
    }
    wait_equal(&world, "acme", &receivers[0]).await;
    world.source.wait_text("select count(*)::text from offtake.outgoing_request", "0").await;
    let before = receivers[0].requests();
    let id = world.id("acme").to_owned();
    world
        .succeed(&["webhook", "replay", "--tenant", &id, "--name", "main", "--from", "0", "--yes"])
        .await;
    until("everything was told again", PATIENCE, async || match receivers[0].requests().len() {
        found if found >= before.len() * 2 => Ok(()),
        found => Err(format!("{found}: {}", state(&world).await)),
    })
    .await;
    world.source.wait_text("select count(*)::text from offtake.outgoing_request", "0").await;
    let ids: std::collections::BTreeSet<String> =
        receivers[0].requests().into_iter().map(|request| request.id).collect();
    assert_eq!(ids.len(), before.len() * 2);
    daemon.stop().await;
}

/// By default only failures are logged; with `log: all`, requests that were delivered are, too.
#[tokio::test]
async fn every_request_is_logged_where_that_is_asked_for() {
    let (mut world, receivers) = world(&["acme"], json!({ "timeout": "20s" })).await;
    world.configure(|configuration| {
        configuration["webhooks"]["attempts"] = json!({ "log": "all", "keep": "1d" });
    });
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    add_user(&world, "acme", "a").await;
    wait_equal(&world, "acme", &receivers[0]).await;
    let logged = "select string_agg(concat_ws(' ', class, status, events, mapping), ', ') from offtake.webhook_attempt";
    world.source.wait_text(logged, "delivered 204 1 users").await;
    daemon.stop().await;
}

/// Nothing names it any more: its cursors stay as long as the log does, and go then.
#[tokio::test]
async fn a_webhook_that_nothing_names_is_forgotten_after_the_retention() {
    let (mut world, _receivers) = world(&["acme", "globex"], json!({})).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 2).await;
    daemon.stop().await;
    world.configure(|configuration| configuration["webhooks"] = json!({}));
    let daemon = world.daemon().await;
    let active = "select count(*)::text from offtake.webhook where active";
    world.source.wait_text(active, "0").await;
    daemon.stop().await;
    let long_ago = format!(
        "update offtake.webhook set deactivated_at = now() - interval '100 years' where tenant_id = '{}'",
        world.id("acme")
    );
    world.source.execute(&long_ago).await;
    let daemon = world.daemon().await;
    let left = "select string_agg(tenant_id, ' ') from offtake.webhook";
    world.source.wait_text(left, world.id("globex")).await;
    world.source.wait_text("select count(*)::text from offtake.webhook_mapping", "1").await;
    daemon.stop().await;
}

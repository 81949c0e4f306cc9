//! When a webhook is told that rows it knows may be gone, and how all rows are told.

use offtake_tests::PATIENCE;
use serde_json::json;

use super::receiver::Answer;
use super::*;

#[tokio::test]
async fn with_a_backfill_every_row_is_told_between_resync_and_backfilled() {
    let settings = json!({ "backfill": true, "timeout": "20s" });
    let (mut world, receivers) = world(&["acme"], settings).await;
    world.fill(1200).await;
    // What is not numbered yet when a webhook is registered is told as a change. So number it first.
    let mut webhooks = json!({});
    world.configure(|configuration| std::mem::swap(&mut configuration["webhooks"], &mut webhooks));
    world.succeed(&["run", "--once"]).await;
    world.configure(|configuration| configuration["webhooks"] = webhooks);
    let daemon = world.daemon().await;
    wait_equal(&world, "acme", &receivers[0]).await;
    until("the backfill has ended", PATIENCE, async || {
        let types = receivers[0].types();
        match types.last().is_some_and(|last| last == "users.backfilled") {
            true => Ok(()),
            false => Err(format!("{} events", types.len())),
        }
    })
    .await;
    let requests = receivers[0].requests();
    assert_eq!(requests[0].body["type"], "users.resync");
    assert_eq!(requests[0].body["reason"], "asked");
    assert_eq!(requests[1].body["backfill"], true);
    // What changes later is a change.
    add_user(&world, "acme", "late").await;
    wait_equal(&world, "acme", &receivers[0]).await;
    assert_eq!(receivers[0].requests().last().unwrap().body.get("backfill"), None);
    daemon.stop().await;
}

#[tokio::test]
async fn a_truncated_table_is_told_as_a_resync() {
    let (world, receivers) = world(&["acme"], json!({})).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    add_user(&world, "acme", "before").await;
    world.source.execute("truncate project_user cascade").await;
    until("the resync is told", PATIENCE, async || {
        let types = receivers[0].types();
        match types.iter().any(|told| told == "users.resync") {
            true => Ok(()),
            false => Err(format!("{types:?}: {}", state(&world).await)),
        }
    })
    .await;
    add_user(&world, "acme", "after").await;
    wait_equal(&world, "acme", &receivers[0]).await;
    let requests = receivers[0].requests();
    let resync = requests.iter().find(|r| r.body["type"] == "users.resync").unwrap();
    assert_eq!(resync.body["reason"], "truncated");
    daemon.stop().await;
}

#[tokio::test]
async fn nothing_overtakes_a_resync_that_is_not_acknowledged() {
    let (world, receivers) = world(&["acme"], json!({})).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    receivers[0].answer(|body| Answer::of(if body["type"] == "users.resync" { 422 } else { 200 }));
    world.source.execute("truncate project_user cascade").await;
    let refused = async |times: usize| {
        until("the resync was refused", PATIENCE, async || {
            if receivers[0].requests().len() >= times { Ok(()) } else { Err(state(&world).await) }
        })
        .await;
    };
    refused(1).await;
    add_user(&world, "acme", "after").await;
    refused(4).await;
    assert!(receivers[0].types().iter().all(|t| t == "users.resync"), "{:?}", receivers[0].types());
    receivers[0].answer(|_| Answer::of(200));
    wait_equal(&world, "acme", &receivers[0]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn another_query_is_told_as_a_resync() {
    let settings = json!({ "backfill": true, "timeout": "20s" });
    let (world, receivers) = world(&["acme"], settings).await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    wait_equal(&world, "acme", &receivers[0]).await;
    let file = world.mappings_folder().join("users.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    world.write_mapping(
        "users",
        &text.replace("u.display_name,", "upper(u.display_name) as display_name,"),
    );
    wait_equal(&world, "acme", &receivers[0]).await;
    let reasons: Vec<Value> = receivers[0]
        .requests()
        .into_iter()
        .filter(|request| request.body["type"] == "users.resync")
        .map(|request| request.body["reason"].clone())
        .collect();
    assert_eq!(reasons, ["asked", "mapping_changed"]);
    daemon.stop().await;
}

#[tokio::test]
async fn where_the_log_does_not_go_back_far_enough_a_resync_says_so() {
    let settings = json!({ "backfill": true, "timeout": "20s" });
    let (world, receivers) = world(&["acme"], settings).await;
    let daemon = world.daemon().await;
    wait_equal(&world, "acme", &receivers[0]).await;
    world.source.wait_text("select state from offtake.webhook", "in_sync").await;
    let paused = "update offtake.webhook set paused_at = now(), paused_until = null";
    world.source.execute(paused).await;
    add_user(&world, "acme", "lost").await;
    world.source.wait_text("select count(*)::text from offtake.outgoing_request", "1").await;
    world.source.execute("select setval('offtake.global_sequence', 10000000)").await;
    add_user(&world, "acme", "later").await;
    world
        .source
        .wait_text("select (max(sequence_id) > 10000000)::text from offtake.change_log", "true")
        .await;
    world.source.execute("drop table offtake.change_log_0").await;
    world.source.execute("update offtake.webhook set paused_at = null").await;
    wait_equal(&world, "acme", &receivers[0]).await;
    let reasons: Vec<Value> = receivers[0]
        .requests()
        .into_iter()
        .filter(|request| request.body["type"] == "users.resync")
        .map(|request| request.body["reason"].clone())
        .collect();
    assert_eq!(reasons, ["asked", "log_lost"]);
    daemon.stop().await;
}

/// A daemon with other mapping files numbered changes meanwhile.
#[tokio::test]
async fn an_overlooked_mapping_is_told_as_a_resync() {
    let (world, receivers) = world(&["acme"], json!({})).await;
    world.allow("overlooked_mapping_copied");
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    world
        .source
        .execute(
            "insert into offtake.overlooked_mapping (mapping, overlooked_at) values ('users', now() - interval '10 minutes')",
        )
        .await;
    until("the resync is told", std::time::Duration::from_secs(90), async || {
        let requests = receivers[0].requests();
        match requests.iter().any(|request| request.body["reason"] == "overlooked") {
            true => Ok(()),
            false => Err(state(&world).await),
        }
    })
    .await;
    daemon.stop().await;
}

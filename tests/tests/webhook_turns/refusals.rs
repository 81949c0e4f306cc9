//! Events that a receiver refuses, and receivers that want nothing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use offtake_tests::PATIENCE;
use serde_json::json;

use super::receiver::{Answer, Request};
use super::*;

/// Refuses events whose row has this name, with this status.
fn refuse(receiver: &Receiver, name: &'static str, status: u16) {
    receiver.answer(move |body| {
        let events = match body["data"].as_array() {
            Some(events) => events.clone(),
            None => vec![body.clone()],
        };
        let refused = events.iter().any(|event| event["data"]["display_name"] == name);
        Answer::of(if refused { status } else { 200 })
    });
}

async fn wait_quarantined(world: &World, count: usize) {
    let rows = "select count(*)::text from offtake.quarantined_event";
    world.source.wait_text(rows, &count.to_string()).await;
}

#[tokio::test]
async fn a_refused_event_is_set_aside_and_the_others_are_told() {
    let (world, receivers) = world(&["acme"], json!({})).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    refuse(&receivers[0], "bad", 422);
    for name in ["a", "bad", "b"] {
        add_user(&world, "acme", name).await;
    }
    wait_quarantined(&world, 1).await;
    until("the others are told", PATIENCE, async || match receivers[0].rows("users").len() {
        2 => Ok(()),
        found => Err(format!("{found} rows")),
    })
    .await;
    // It changes, and the receiver takes it.
    world
        .source
        .execute("update project_user set display_name = 'good' where display_name = 'bad'")
        .await;
    wait_equal(&world, "acme", &receivers[0]).await;
    wait_quarantined(&world, 0).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_refused_event_is_tried_again_by_itself() {
    let (world, receivers) = world(&["acme"], json!({ "timeout": "20s" })).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    // It is refused once: behind the second attempt the schedule waits for an hour.
    let mut refused = false;
    receivers[0]
        .answer(move |_| Answer::of(if std::mem::replace(&mut refused, true) { 200 } else { 400 }));
    add_user(&world, "acme", "bad").await;
    daemon.wait_logged("event_quarantined").await;
    wait_equal(&world, "acme", &receivers[0]).await;
    wait_quarantined(&world, 0).await;
    let ids: std::collections::BTreeSet<String> =
        receivers[0].requests().into_iter().map(|request| request.id).collect();
    assert_eq!(ids.len(), 1, "the same content has the same id");
    daemon.stop().await;
}

#[tokio::test]
async fn of_a_batch_only_the_refused_event_is_set_aside() {
    let settings = json!({ "batch": { "events": 100 } });
    let (world, receivers) = world(&["acme"], settings).await;
    refuse(&receivers[0], "bad", 422);
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    let id = world.id("acme");
    world
        .source
        .execute(&format!(
            "insert into project_user (tenancy_id, display_name)
             select '{id}', case n when 37 then 'bad' else 'u' || n end from generate_series(1, 100) n"
        ))
        .await;
    wait_quarantined(&world, 1).await;
    until("the others are told", PATIENCE, async || match receivers[0].rows("users").len() {
        99 => Ok(()),
        found => Err(format!("{found} rows")),
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_500_is_the_event_s_fault_only_where_its_neighbour_is_taken() {
    let (world, receivers) = world(&["acme"], json!({ "concurrency": 1 })).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    // The endpoint is down: nothing is set aside, however long.
    receivers[0].answer(|_| Answer::of(500));
    for name in ["bad", "a", "b"] {
        add_user(&world, "acme", name).await;
    }
    until("it was asked often", PATIENCE, async || match receivers[0].requests().len() {
        0..8 => Err("not yet".to_owned()),
        _ => Ok(()),
    })
    .await;
    wait_quarantined(&world, 0).await;
    refuse(&receivers[0], "bad", 500);
    wait_quarantined(&world, 1).await;
    until("the others are told", PATIENCE, async || match receivers[0].rows("users").len() {
        2 => Ok(()),
        found => Err(format!("{found} rows")),
    })
    .await;
    daemon.stop().await;
}

/// Answers 500 to every request that has a row whose name begins so.
fn fail(receiver: &Receiver, name: &'static str) {
    receiver.answer(move |body| {
        let request = Request { id: String::new(), body: body.clone() };
        let named = |event: &Value| event["data"]["display_name"].as_str().map(str::to_owned);
        let mut names = request.events().into_iter().filter_map(|event| named(&event));
        Answer::of(if names.any(|found| found.starts_with(name)) { 500 } else { 200 })
    });
}

async fn wait_rows(receiver: &Receiver, count: usize) {
    until(&format!("{count} rows are told"), PATIENCE, async || {
        match receiver.rows("users").len() {
            found if found == count => Ok(()),
            found => Err(format!("{found} rows")),
        }
    })
    .await;
}

/// Alone it has no neighbour that could tell, so the endpoint is unwell, however often it is asked.
/// The next event tells.
#[tokio::test]
async fn a_500_to_a_lone_event_is_the_endpoint_s_until_a_neighbour_is_taken() {
    let (world, receivers) = world(&["acme"], json!({})).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    fail(&receivers[0], "bad");
    add_user(&world, "acme", "bad").await;
    until("it was asked often", PATIENCE, async || match receivers[0].requests().len() {
        0..6 => Err("not yet".to_owned()),
        _ => Ok(()),
    })
    .await;
    world.source.wait_text("select state from offtake.webhook", "blocked").await;
    wait_quarantined(&world, 0).await;
    add_user(&world, "acme", "good").await;
    wait_quarantined(&world, 1).await;
    wait_rows(&receivers[0], 1).await;
    daemon.stop().await;
}

/// Refused events stand side by side: none of them is the other's neighbour that is taken.
#[tokio::test]
async fn events_side_by_side_that_are_answered_with_500_are_all_set_aside() {
    let (world, receivers) = world(&["acme"], json!({ "concurrency": 1 })).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    fail(&receivers[0], "bad");
    let id = world.id("acme");
    world
        .source
        .execute(&format!(
            "insert into project_user (tenancy_id, display_name)
             select '{id}', case when n <= 3 then 'bad ' else 'u' end || n from generate_series(1, 6) n"
        ))
        .await;
    wait_quarantined(&world, 3).await;
    wait_rows(&receivers[0], 3).await;
    daemon.stop().await;
}

/// A batch with nothing beside it has its neighbours in itself.
#[tokio::test]
async fn of_a_lone_batch_that_is_answered_with_500_only_the_events_at_fault_are_set_aside() {
    let (world, receivers) = world(&["acme"], json!({ "batch": { "events": 100 } })).await;
    fail(&receivers[0], "bad");
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    let id = world.id("acme");
    world
        .source
        .execute(&format!(
            "insert into project_user (tenancy_id, display_name)
             select '{id}', case when n in (1, 2, 16) then 'bad ' else 'u' end || n from generate_series(1, 16) n"
        ))
        .await;
    wait_quarantined(&world, 3).await;
    wait_rows(&receivers[0], 13).await;
    // The endpoint is down, so nothing more is set aside, whatever its batches hold.
    receivers[0].answer(|_| Answer::of(500));
    let before = receivers[0].requests().len();
    let more = format!(
        "insert into project_user (tenancy_id, display_name) select '{id}', 'v' || n from generate_series(1, 16) n"
    );
    world.source.execute(&more).await;
    until("it was asked often", PATIENCE, async || match receivers[0].requests().len() - before {
        0..40 => Err("not yet".to_owned()),
        _ => Ok(()),
    })
    .await;
    wait_quarantined(&world, 3).await;
    daemon.stop().await;
}

/// An event that was blamed before is tried by its own schedule, and takes nothing from the
/// endpoint's name.
#[tokio::test]
async fn a_quarantined_event_that_is_answered_with_500_again_counts_its_attempts() {
    let (world, receivers) = world(&["acme"], json!({ "concurrency": 1 })).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    fail(&receivers[0], "bad");
    for name in ["bad", "good"] {
        add_user(&world, "acme", name).await;
    }
    wait_quarantined(&world, 1).await;
    let attempts = "select attempts::text from offtake.quarantined_event";
    world.source.wait_text(attempts, "2").await;
    let state = "select state || ' ' || consecutive_failures from offtake.webhook";
    world.source.wait_text(state, "degraded 0").await;
    wait_rows(&receivers[0], 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_more_until_it_has_another_url() {
    let (mut world, receivers) = world(&["acme"], json!({})).await;
    let mut daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    receivers[0].answer(|_| Answer::of(410));
    add_user(&world, "acme", "a").await;
    world.source.wait_text("select state from offtake.webhook", "disabled").await;
    let sent = receivers[0].requests().len();
    add_user(&world, "acme", "b").await;
    world
        .source
        .wait_text("select (wanted_sequence_id > 1)::text from offtake.outgoing_request", "true")
        .await;
    daemon.kill();
    assert_eq!(receivers[0].requests().len(), sent);
    receivers[0].answer(|_| Answer::of(200));
    let url = format!("{}/again", receivers[0].url());
    world.configure(|configuration| configuration["webhooks"]["static"][0]["url"] = url.into());
    let daemon = world.daemon().await;
    wait_equal(&world, "acme", &receivers[0]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_webhook_that_fails_for_too_long_is_disabled() {
    let (mut world, receivers) = world(&["acme"], json!({})).await;
    world.configure(|configuration| configuration["webhooks"]["disable_after"] = "1s".into());
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    let asked = Arc::new(AtomicBool::new(false));
    let told = asked.clone();
    receivers[0].answer(move |_| {
        told.store(true, Ordering::Relaxed);
        Answer::of(503)
    });
    add_user(&world, "acme", "a").await;
    world
        .source
        .wait_text("select state from offtake.webhook where disabled_at is not null", "blocked")
        .await;
    assert!(asked.load(Ordering::Relaxed));
    assert!(receivers[0].requests().len() >= 10);
    daemon.stop().await;
}

//! Events that their receiver refuses: tried again by the schedule, by a change, by command; and a
//! webhook that is disabled.

use offtake_tests::receiver::{Play, Receiver};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

use super::answers::{quarantined, user};
use super::told::{daemon_with_webhooks, insert_user, users_world};

/// Refuses users whose name begins with `bad`.
fn refuse_bad(receiver: &Receiver) {
    receiver.play(|request| {
        let bad = request.events().iter().any(|(_, event)| {
            event["data"]["display_name"].as_str().is_some_and(|name| name.starts_with("bad"))
        });
        if bad { Play::Status(422) } else { Play::OK }
    });
}

async fn until_quarantined(world: &World, count: usize) {
    until(&format!("{count} are in quarantine"), PATIENCE, async || {
        match quarantined(world).await {
            found if found == count => Ok(()),
            found => Err(format!("{found}")),
        }
    })
    .await;
}

async fn refusing(options: Value, events: Value) -> (World, Receiver, Daemon) {
    let (mut world, receiver) = users_world(options).await;
    world.configure(|configuration| configuration["webhooks"]["retry"]["events"] = events);
    world.allow("event_quarantined");
    world.allow("webhook_unwell");
    refuse_bad(&receiver);
    let daemon = daemon_with_webhooks(&world).await;
    (world, receiver, daemon)
}

/// The schedule ends: then the event stays listed, and a command tries it once more.
#[tokio::test]
async fn an_event_is_tried_by_its_schedule_and_is_then_exhausted() {
    let (world, receiver, daemon) = refusing(json!({}), json!(["100ms", "200ms"])).await;
    insert_user(&world, "bad").await;
    receiver.wait_requests(3).await;
    let exhausted = "select attempts, next_attempt_at is null from offtake.quarantined_event";
    world.source.wait_text(exhausted, "3|t").await;
    let webhook = world.wait_webhook(&daemon, "acme", "degraded", &[]).await;
    assert_eq!(webhook["quarantined"], "1", "{webhook}");
    let of = ["--webhook", "main", "--tenant", world.id("acme")];
    let listed = world.succeed(&[&["quarantine", "list"], &of[..], &["--json"]].concat()).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let item = &listed[0];
    assert_eq!((&item["webhook"], &item["destination"]), (&json!("main"), &Value::Null), "{item}");
    assert!(item["key"].is_object() && !item.to_string().contains("bad"), "{item}");

    receiver.play(|_| Play::OK);
    world.succeed(&[&["quarantine", "retry"], &of[..]].concat()).await;
    until_quarantined(&world, 0).await;
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    receiver.assert_content();
    daemon.stop().await;
}

/// What is discarded is told no more, until its key changes.
#[tokio::test]
async fn a_discarded_event_is_told_with_the_next_change_of_its_key() {
    let (world, receiver, daemon) = refusing(json!({}), json!(["1h"])).await;
    insert_user(&world, "bad").await;
    until_quarantined(&world, 1).await;
    let of = ["--webhook", "main", "--tenant", world.id("acme"), "--yes"];
    world.succeed(&[&["quarantine", "discard"], &of[..]].concat()).await;
    until_quarantined(&world, 0).await;
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    assert!(receiver.rows("users").is_empty());
    let mend = "update project_user set display_name = 'mended' where display_name = 'bad'";
    world.source.execute(mend).await;
    receiver.wait_for("mended", |requests| requests.iter().any(|r| user(r) == "mended")).await;
    receiver.assert_content();
    daemon.stop().await;
}

/// A retry reads the row again, so it tells what is now, and a row that is gone is told as gone.
#[tokio::test]
async fn a_quarantined_event_is_told_as_it_is_now() {
    let (world, receiver, daemon) = refusing(json!({}), json!(["1h"])).await;
    insert_user(&world, "bad").await;
    until_quarantined(&world, 1).await;
    world
        .source
        .execute("update project_user set display_name = 'mended' where display_name = 'bad'")
        .await;
    receiver.wait_for("mended", |requests| requests.iter().any(|r| user(r) == "mended")).await;
    until_quarantined(&world, 0).await;
    insert_user(&world, "bad again").await;
    until_quarantined(&world, 1).await;
    world.source.execute("delete from project_user where display_name = 'bad again'").await;
    until_quarantined(&world, 0).await;
    world.wait_webhooks_told(PATIENCE).await;
    assert_eq!(receiver.kinds().last().unwrap(), "users.deleted");
    daemon.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_refused_is_halved_until_the_event_is_found() {
    let (world, receiver, daemon) =
        refusing(json!({ "batch": { "events": 16 }, "concurrency": 1 }), json!(["1h"])).await;
    let insert = format!(
        "insert into public.project_user (tenancy_id, project_user_id, display_name) \
         select '{}', md5('u' || n)::uuid, case n when 11 then 'bad' else 'user ' || n end from generate_series(1, 16) n",
        world.id("acme")
    );
    world.source.execute(&insert).await;
    until_quarantined(&world, 1).await;
    world.wait_webhook(&daemon, "acme", "degraded", &[]).await;
    world.wait_webhooks_told(PATIENCE).await;
    assert_eq!(receiver.rows("users").len(), 15);
    // 16, 8 + 8, 4 + 4, 2 + 2, 1 + 1: far fewer than one request for each.
    assert!(receiver.requests().len() <= 10, "{} requests", receiver.requests().len());
    receiver.assert_content();
    daemon.stop().await;
}

#[tokio::test]
async fn with_halt_the_webhook_waits_at_the_event() {
    let (world, receiver, daemon) =
        refusing(json!({ "on_event_error": "halt", "concurrency": 1 }), json!(["1h"])).await;
    insert_user(&world, "bad").await;
    receiver.wait_requests(2).await;
    insert_user(&world, "good").await;
    let webhook = world.webhook(&daemon, "acme").await;
    assert_ne!(webhook["state"], "in_sync", "{webhook}");
    assert_eq!((quarantined(&world).await, receiver.rows("users").len()), (0, 0));
    receiver.play(|_| Play::OK);
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    assert_eq!(receiver.rows("users").len(), 2);
    daemon.stop().await;
}

/// A receiver that refuses everything must not turn the whole backlog into quarantine.
#[tokio::test]
async fn a_receiver_that_refuses_too_much_is_blocked_and_its_cursor_stays() {
    let (world, receiver, daemon) = refusing(json!({ "concurrency": 16 }), json!(["1h"])).await;
    // To look for repeats among all requests would take longer with each of a thousand.
    receiver.keep_nothing();
    receiver.play(|_| Play::Status(400));
    let insert = format!(
        "insert into public.project_user (tenancy_id, project_user_id, display_name) \
         select '{}', md5('u' || n)::uuid, 'user ' || n from generate_series(1, 1100) n",
        world.id("acme")
    );
    world.source.execute(&insert).await;
    world.wait_webhook(&daemon, "acme", "blocked", &["too many"]).await;
    assert!(quarantined(&world).await <= 1000);
    receiver.play(|_| Play::OK);
    world
        .succeed(&["quarantine", "retry", "--webhook", "main", "--tenant", world.id("acme")])
        .await;
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    assert_eq!(receiver.rows("users").len(), 1100);
    daemon.stop().await;
}

/// The resync event stands for a whole mapping, so it is never set aside.
#[tokio::test]
async fn a_refused_resync_blocks_and_nothing_overtakes_it() {
    let (world, receiver, daemon) = refusing(json!({}), json!(["1h"])).await;
    receiver.play(
        |request| if request.kind() == "users.resync" { Play::Status(400) } else { Play::OK },
    );
    world.source.execute("truncate public.project_user cascade").await;
    world.wait_webhook(&daemon, "acme", "blocked", &["400"]).await;
    insert_user(&world, "Ann").await;
    daemon.wait_round("webhooks").await;
    assert_eq!(quarantined(&world).await, 0);
    assert!(receiver.kinds().iter().all(|kind| kind == "users.resync"), "{:?}", receiver.kinds());
    receiver.play(|_| Play::OK);
    receiver.wait_event("users.upserted").await;
    daemon.stop().await;
}

/// Nothing was acknowledged for as long as `disable_after` says, while something was owed.
#[tokio::test]
async fn a_webhook_that_never_answers_is_disabled_and_a_new_url_ends_it() {
    let (mut world, receiver) = users_world(json!({ "concurrency": 1 })).await;
    world.allow("*");
    world.configure(|configuration| configuration["webhooks"]["disable_after"] = "1d".into());
    let daemon = daemon_with_webhooks(&world).await;
    receiver.play(|_| Play::Status(503));
    insert_user(&world, "Ann").await;
    receiver.wait_requests(10).await;
    assert_ne!(world.webhook(&daemon, "acme").await["state"], "disabled");
    // Ten failures, the first of them long ago by the source's clock.
    let long_ago = "update offtake.webhook set failing_since = now() - interval '25 hours', last_success_at = null, \
        created_at = now() - interval '3 days' where failing_since is not null";
    world.source.execute(long_ago).await;
    world.wait_webhook(&daemon, "acme", "disabled", &[]).await;
    daemon.wait_logged("webhook_disabled").await;
    daemon.stop().await;

    receiver.play(|_| Play::OK);
    let url = receiver.url().replace("/hook/", "/another-hook/");
    world.change_webhook(|webhook| webhook["url"] = url.into());
    let daemon = world.daemon().await;
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    assert_eq!(receiver.rows("users").len(), 1);
    daemon.stop().await;
}

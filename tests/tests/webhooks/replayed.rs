//! Replay: what changed since some moment is told once more, as it is now.

use offtake_tests::receiver::Receiver;
use offtake_tests::{Daemon, PATIENCE, World};
use serde_json::{Value, json};

use super::told::{daemon_with_webhooks, insert_user, users_world};

async fn told_three() -> (World, Receiver, Daemon) {
    let (world, receiver) = users_world(json!({ "concurrency": 1 })).await;
    let daemon = daemon_with_webhooks(&world).await;
    for name in ["Ann", "Bob", "Cyd"] {
        insert_user(&world, name).await;
        world.wait_webhooks_told(PATIENCE).await;
    }
    (world, receiver, daemon)
}

fn names(receiver: &Receiver) -> Vec<String> {
    let name = |(_, event): (String, Value)| event["data"]["display_name"].as_str().unwrap().into();
    receiver.events().into_iter().map(name).collect()
}

fn sequence_id(receiver: &Receiver, at: usize) -> String {
    receiver.requests()[at].event["sequence_id"].as_str().unwrap().to_owned()
}

/// With new ids, which a receiver that drops known ones takes; or with the same.
#[tokio::test]
async fn a_replay_tells_what_changed_since_as_it_is_now() {
    let (world, receiver, daemon) = told_three().await;
    world
        .source
        .execute("update project_user set display_name = 'Cyd 2' where display_name = 'Cyd'")
        .await;
    world.wait_webhooks_told(PATIENCE).await;
    let before = receiver.requests();
    // What comes behind it.
    let from = sequence_id(&receiver, 0);
    let of = ["webhook", "replay", "--tenant", world.id("acme"), "--from", &from, "--yes"];
    receiver.forget_requests();
    world.succeed(&of).await;
    world.wait_webhooks_told(PATIENCE).await;
    assert_eq!(names(&receiver), ["Bob", "Cyd 2"]);
    let known = |receiver: &Receiver| {
        receiver.requests().iter().filter(|r| before.iter().any(|b| b.id() == r.id())).count()
    };
    assert_eq!(known(&receiver), 0, "new ids");
    receiver.assert_content();
    daemon.stop().await;
}

#[tokio::test]
async fn with_same_ids_a_receiver_that_knows_them_takes_nothing_twice() {
    let (world, receiver, daemon) = told_three().await;
    let before: Vec<_> = receiver.requests().iter().map(|r| r.id().to_owned()).collect();
    let from = sequence_id(&receiver, 0);
    receiver.forget_requests();
    world
        .succeed(&[
            "webhook",
            "replay",
            "--tenant",
            world.id("acme"),
            "--from",
            &from,
            "--same-ids",
            "--yes",
        ])
        .await;
    world.wait_webhooks_told(PATIENCE).await;
    let after: Vec<_> = receiver.requests().iter().map(|r| r.id().to_owned()).collect();
    assert_eq!(after, before[1..]);
    receiver.assert_content();
    daemon.stop().await;
}

/// `--until` is a pass beside the cursor, which stays.
#[tokio::test]
async fn a_replay_with_an_end_leaves_the_cursor() {
    let (world, receiver, daemon) = told_three().await;
    let cursor = "select min(sequence_id) from offtake.webhook_mapping";
    let before = world.source.query_text(cursor).await;
    let at = |at: usize| receiver.requests()[at].event["timestamp"].as_str().unwrap().to_owned();
    let (since, until) = (at(0), at(1));
    receiver.forget_requests();
    let tenant = world.id("acme");
    world
        .succeed(&[
            "webhook", "replay", "--tenant", tenant, "--since", &since, "--until", &until, "--yes",
        ])
        .await;
    receiver.wait_requests(2).await;
    world.source.wait_text("select count(*) from offtake.webhook_replay", "0").await;
    assert_eq!(world.source.query_text(cursor).await, before);
    insert_user(&world, "Dan").await;
    receiver.wait_requests(3).await;
    assert_eq!(names(&receiver), ["Ann", "Bob", "Dan"]);
    receiver.assert_content();
    daemon.stop().await;
}

/// It asks first; without a terminal, `--yes` is the answer.
#[tokio::test]
async fn a_replay_asks_first() {
    let (world, receiver, daemon) = told_three().await;
    let tenant = world.id("acme");
    let before = receiver.requests().len();
    // Without a terminal nobody can answer.
    let output = world.offtake(&["webhook", "replay", "--tenant", tenant, "--from", "1"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let output =
        world.offtake(&["webhook", "replay", "--tenant", "nobody", "--from", "1", "--yes"]).await;
    assert!(!output.status.success());
    assert_eq!(receiver.requests().len(), before);
    daemon.stop().await;
}

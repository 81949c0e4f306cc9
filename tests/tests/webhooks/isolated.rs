//! One receiver's trouble delays no other, and no destination.

use std::time::{Duration, Instant};

use offtake_tests::receiver::{Play, Receiver};
use offtake_tests::{PATIENCE, World, oracle};
use serde_json::{Value, json};

use super::told::{daemon_with_webhooks, insert_user, registered, users_world};

/// More than the 64 requests that go to silent receivers at a time.
const SILENT: usize = 80;

/// With far more silent receivers than readers or places for them, the others are told at once.
#[tokio::test]
async fn silent_receivers_delay_no_other_and_no_destination() {
    let names: Vec<String> = (0..=SILENT).map(|number| format!("tenant {number}")).collect();
    let mut world = World::with_tenants(["acme"]).await;
    let (silent, lively) = (Receiver::start().await, Receiver::start().await);
    silent.play(|_| Play::Silent);
    for name in &names[1..] {
        world.add_webhook(
            "acme",
            &silent,
            json!({ "name": name.replace(' ', "_"), "timeout": "10s" }),
        );
    }
    world.add_webhook("acme", &lively, json!({}));
    world.configure(|configuration| configuration["webhooks"]["workers"] = 2.into());
    world.allow("webhook_unwell");
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    silent.wait_requests(SILENT).await;
    lively.wait_requests(1).await;
    // From now on all of them are known as silent.
    for number in 0..10 {
        let began = Instant::now();
        insert_user(&world, &format!("user {number}")).await;
        let count = number + 2;
        lively.wait_requests(count).await;
        // A bound on waiting for a receiver's timeout, and not on speed.
        assert!(began.elapsed() < Duration::from_secs(10), "user {number}: {:?}", began.elapsed());
    }
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    lively.assert_content();
    drop(silent);
    daemon.stop().await;
}

/// A receiver that stops answering is not asked for longer than its timeout when the daemon ends.
#[tokio::test]
async fn a_daemon_ends_while_a_receiver_is_silent() {
    let mut world = World::with_tenants(["acme"]).await;
    let receiver = Receiver::start().await;
    world.add_webhook("acme", &receiver, json!({ "timeout": "2s" }));
    world.allow("webhook_unwell");
    let daemon = daemon_with_webhooks(&world).await;
    receiver.play(|_| Play::Silent);
    insert_user(&world, "Ann").await;
    receiver.wait_requests(1).await;
    daemon.stop().await;
    receiver.play(|_| Play::OK);
    let daemon = world.daemon().await;
    world.wait_webhooks_told(PATIENCE).await;
    assert_eq!(receiver.rows("users").len(), 1);
    daemon.stop().await;
}

/// A pause, and a fuse, stop one webhook; the other goes on, and nothing is lost.
#[tokio::test]
async fn a_paused_webhook_is_told_later_and_the_other_goes_on() {
    let mut world = World::with_tenants(["acme"]).await;
    let (one, other) = (Receiver::start().await, Receiver::start().await);
    world.add_webhook("acme", &one, json!({ "mappings": ["users"] }));
    world.add_webhook("acme", &other, json!({ "mappings": ["users"], "name": "other" }));
    let daemon = daemon_with_webhooks(&world).await;
    // The turns of the registration have ended.
    world.wait_webhooks_told(PATIENCE).await;
    world
        .succeed(&[
            "webhook",
            "pause",
            "--tenant",
            world.id("acme"),
            "--name",
            "main",
            "--reason",
            "a test",
        ])
        .await;
    daemon.wait_fuse(&format!("webhook:{}/main", world.id("acme")), true).await;
    insert_user(&world, "Ann").await;
    other.wait_requests(1).await;
    assert_eq!(world.webhook(&daemon, "acme").await["state"], "paused");
    assert!(one.requests().is_empty());
    world.succeed(&["webhook", "resume", "--tenant", world.id("acme"), "--name", "main"]).await;
    one.wait_requests(1).await;
    world.wait_webhooks_told(PATIENCE).await;

    world.succeed(&["fuse", "off", "webhooks", "--reason", "a test"]).await;
    daemon.wait_fuse("webhooks", true).await;
    insert_user(&world, "Bob").await;
    world.wait_in_step().await;
    assert_eq!((one.requests().len(), other.requests().len()), (1, 1));
    world.succeed(&["fuse", "on", "webhooks"]).await;
    other.wait_requests(2).await;
    one.wait_requests(2).await;
    daemon.stop().await;
}

/// Webhooks that are added, changed and removed while the daemon runs.
#[tokio::test]
async fn webhooks_change_while_the_daemon_runs() {
    let mut world = World::with_tenants(["acme"]).await;
    let (one, other) = (Receiver::start().await, Receiver::start().await);
    world.source.execute("create table public.hook (tenant_id text, name text, url text, secret text, plan jsonb)").await;
    world.configure(|configuration| {
        configuration["webhooks"] = json!({
            "query": "select tenant_id, name, url, secret, plan as filter, '{users}'::text[] as mappings from public.hook",
            "refresh": "100ms",
            "retry": { "initial": "100ms", "max": "500ms" },
        });
    });
    let daemon = world.daemon().await;
    let insert = format!(
        "insert into hook values ('{}', 'main', '{}', '{}', '{{\"display_name\": [\"Ann\", \"Bob\", \"it''s\"]}}')",
        world.id("acme"),
        one.url(),
        offtake_tests::receiver::SECRET
    );
    world.source.execute(&insert).await;
    registered(&world).await;
    for name in ["Ann", "Cyd", "it''s"] {
        insert_user(&world, name).await;
    }
    one.wait_for("it's", |requests| {
        requests.iter().any(|r| r.event["data"]["display_name"] == "it's")
    })
    .await;
    world.wait_webhooks_told(PATIENCE).await;
    let told = |receiver: &Receiver| -> Vec<String> {
        let rows = receiver.rows("users").into_iter();
        let mut names: Vec<_> =
            rows.map(|row| row["display_name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(told(&one), ["Ann", "it's"], "the filter accepts these only");
    world.source.execute(&format!("update hook set url = '{}'", other.url())).await;
    // The next event after the refresh goes to the new one; the cursor is the same.
    offtake_tests::until("the other receiver is told", PATIENCE, async || {
        world
            .source
            .execute(
                "update project_user set display_name = 'Bob' where display_name in ('Ann', 'Bob')",
            )
            .await;
        if other.requests().is_empty() { Err("nothing yet".to_owned()) } else { Ok(()) }
    })
    .await;
    world.source.execute("delete from hook").await;
    world.source.wait_text("select active from offtake.webhook", "f").await;
    daemon.stop().await;
}

/// The same for those of the file, which is read again by itself.
#[tokio::test]
async fn the_file_s_webhooks_change_while_the_daemon_runs() {
    let (world, receiver) = users_world(json!({})).await;
    let other = Receiver::start().await;
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    receiver.wait_requests(1).await;
    // As an editor does: it is never half-written.
    let rewrite = |change: &dyn Fn(&mut Value)| {
        for entry in world.folder().read_dir().unwrap() {
            let file = entry.unwrap().path();
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("offtake-") && name.ends_with(".yaml") {
                let text = std::fs::read_to_string(&file).unwrap();
                let mut configuration: Value = serde_json::from_str(&text).unwrap();
                if configuration["webhooks"]["static"].is_null() {
                    continue;
                }
                change(&mut configuration["webhooks"]);
                let beside = file.with_extension("new");
                std::fs::write(&beside, configuration.to_string()).unwrap();
                std::fs::rename(&beside, &file).unwrap();
            }
        }
    };
    rewrite(&|webhooks| webhooks["static"][0]["url"] = other.url().into());
    offtake_tests::until("the other receiver is told", PATIENCE, async || {
        let update = "update project_user set display_name = display_name || '.' where display_name like 'Ann%'";
        world.source.execute(update).await;
        if other.requests().is_empty() { Err("nothing yet".to_owned()) } else { Ok(()) }
    })
    .await;
    rewrite(&|webhooks| webhooks["static"] = json!([]));
    world.source.wait_text("select active from offtake.webhook", "f").await;
    other.assert_content();
    daemon.stop().await;
}

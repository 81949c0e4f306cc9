//! `offtake webhook`, as operators type it.

use offtake_tests::receiver::Play;
use offtake_tests::{PATIENCE, World, until};
use serde_json::{Value, json};

use super::{assert_nothing_secret, done, insert_user, key_of, told, webhook};

async fn shown(world: &World) -> Value {
    serde_json::from_str(&done(world, "show", &["--json"]).await).unwrap()
}

async fn until_shown(world: &World, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    until(what, PATIENCE, async || {
        let webhook = shown(world).await;
        if holds(&webhook) { Ok(webhook) } else { Err(format!("{webhook:#}")) }
    })
    .await
}

#[tokio::test]
async fn webhooks_are_listed_and_shown_without_anything_secret() {
    let (world, receiver, daemon) = told(json!({})).await;
    insert_user(&world, "Ann").await;
    receiver.wait_requests(1).await;
    let webhook = until_shown(&world, "one event is delivered", |w| w["delivered"] == "1").await;
    assert_eq!(webhook["last_status"], 200);
    assert_eq!(webhook["host"], "127.0.0.1");
    assert_eq!(webhook["signatures"][0], json!({ "kind": "hmac", "fingerprint": "2dd745ff" }));
    assert_eq!(webhook["mappings"][0]["name"], "users");
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;
    let text = done(&world, "show", &[]).await;
    for part in ["in_sync", "1 event(s)", "hmac 2dd745ff", "127.0.0.1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let list = world.succeed(&["webhook", "list"]).await;
    assert_nothing_secret(&list);
    assert!(list.contains(&format!("{}/main", world.id("acme"))), "{list}");
    let none = world.succeed(&["webhook", "list", "--state", "disabled"]).await;
    assert!(none.contains("no webhook is disabled"), "{none}");
    let status = world.succeed(&["status"]).await;
    assert!(status.contains("webhooks      1 in sync"), "{status}");

    // Names that are not there are told with the nearest that is.
    let unknown = world.offtake(&["webhook", "list", "--state", "dissabled"]).await;
    let complaint = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(complaint.contains("did you mean disabled?"), "{complaint}");
    let of = ["webhook", "show", "--tenant", world.id("acme"), "--name", "mian"];
    let output = world.offtake(&of).await;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint.contains("did you mean main?"), "{complaint}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_test_is_sent_at_once_and_says_how_it_ended() {
    let (world, receiver, daemon) = told(json!({})).await;
    let text = done(&world, "test", &[]).await;
    assert!(text.contains("answered 200") && text.contains("(127.0.0.1)"), "{text}");
    let request = &receiver.wait_requests(1).await[0];
    assert_eq!(request.kind(), "offtake.test");

    insert_user(&world, "Ann").await;
    receiver.wait_requests(2).await;
    let key = key_of(&world, "Ann").await;
    let row = ["--mapping", "users", "--key", &key];
    done(&world, "test", &row).await;
    let requests = receiver.wait_requests(3).await;
    // The very event that was told: same content, same id.
    assert_eq!(requests[2].id(), requests[1].id());
    assert_eq!(requests[2].event["data"], requests[1].event["data"]);
    let object = format!("{{\"id\": \"{key}\"}}");
    done(&world, "test", &["--mapping", "users", "--key", &object]).await;
    receiver.wait_requests(4).await;

    receiver.play(|_| Play::Answer(422, "x-a: b\r\n", "no such plan"));
    let (code, text) = webhook(&world, "test", &["--json"]).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &told["status"], &told["acknowledged"]), (1, &json!(422), &json!(false)));
    assert_eq!(told["response"], "no such plan");
    receiver.play(|_| Play::Reset);
    let (code, text) = webhook(&world, "test", &[]).await;
    assert!(code == 69 && text.contains("before an answer"), "{code}: {text}");

    let (code, text) =
        webhook(&world, "test", &["--mapping", "users", "--key", "{\"a\": 1}"]).await;
    assert!(code == 2 && text.contains("JSON object of id"), "{code}: {text}");
    let (code, text) = webhook(&world, "test", &["--mapping", "user", "--key", "1"]).await;
    assert!(code == 2 && text.contains("did you mean users?"), "{code}: {text}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_preview_is_what_is_sent_and_sends_nothing() {
    let (world, receiver, daemon) = told(json!({})).await;
    insert_user(&world, "Ann").await;
    let sent = &receiver.wait_requests(1).await[0];
    let key = key_of(&world, "Ann").await;
    let text = done(&world, "preview", &["--mapping", "users", "--key", &key]).await;
    let (head, body) = text.split_once("\n\n").unwrap();
    assert!(head.contains(&format!("webhook-id: {}", sent.id())), "{head}");
    assert!(head.contains("authorization: …") && head.contains("v1,…"), "{head}");
    // `as_of` is that of another snapshot.
    let told: Value = serde_json::from_str(body).unwrap();
    for field in ["type", "timestamp", "sequence_id", "epoch", "key", "data"] {
        assert_eq!(told[field], sent.event[field], "{field}");
    }
    let gone = "7b0c8f2e-0000-4000-8000-000000000000";
    let text = done(&world, "preview", &["--mapping", "users", "--key", gone]).await;
    assert!(text.contains("users.deleted") && text.contains("\"data\":null"), "{text}");
    assert_eq!(receiver.requests().len(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_is_printed_alone() {
    let world = World::with_tenants([""; 0]).without_init().await;
    for (arguments, lines) in
        [(&["webhook", "secret"][..], 1), (&["webhook", "secret", "--ed25519"], 2)]
    {
        let text = world.succeed(arguments).await;
        let told: Vec<&str> = text.lines().collect();
        assert_eq!(told.len(), lines, "{text}");
        assert!(told[0].starts_with("whsec_") || told[0].starts_with("whsk_"), "{text}");
        assert!(told.get(1).is_none_or(|line| line.starts_with("whpk_")), "{text}");
    }
}

#[tokio::test]
async fn what_is_paused_or_disabled_goes_on_where_it_stopped() {
    let (world, receiver, daemon) = told(json!({})).await;
    done(&world, "pause", &["--reason", "their release", "--for", "1h"]).await;
    insert_user(&world, "Ann").await;
    let webhook = until_shown(&world, "it lags", |w| w["lag_rows"] == "1").await;
    assert_eq!(
        (&webhook["state"], &webhook["reason"]),
        (&json!("paused"), &json!("their release"))
    );
    let fuses = world.succeed(&["fuse", "list"]).await;
    assert!(fuses.contains("webhooks"), "{fuses}");
    assert!(done(&world, "resume", &[]).await.contains("goes on"));
    receiver.wait_requests(1).await;
    // A turn that is stopped before it has recorded an event tells it again.
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;
    assert!(done(&world, "resume", &[]).await.contains("was not paused"));

    let text = done(&world, "disable", &["--reason", "they moved"]).await;
    assert!(text.contains("offtake webhook enable"), "{text}");
    assert!(done(&world, "disable", &["--reason", "again"]).await.contains("disabled already"));
    insert_user(&world, "Ben").await;
    let webhook = until_shown(&world, "it lags", |w| w["lag_rows"] == "1").await;
    assert_eq!(webhook["state"], "disabled");
    assert!(webhook["reason"].as_str().unwrap().starts_with("they moved; run: offtake webhook"));
    done(&world, "enable", &[]).await;
    receiver.wait_requests(2).await;
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;

    let fuse = format!("webhook:{}/main", world.id("acme"));
    world.succeed(&["fuse", "off", &fuse, "--reason", "wrong receiver"]).await;
    let webhook = until_shown(&world, "it is paused", |w| w["state"] == "paused").await;
    assert!(webhook["reason"].as_str().unwrap().ends_with("wrong receiver"), "{webhook}");
    world.succeed(&["fuse", "on", &fuse]).await;
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_replay_and_a_resync_say_how_much_they_tell_and_ask() {
    let (world, receiver, daemon) = told(json!({ "backfill": true })).await;
    // The backfill of the registration.
    receiver.wait_event("users.backfilled").await;
    let since = world
        .source
        .query_text("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        .await;
    insert_user(&world, "Ann").await;
    insert_user(&world, "Ben").await;
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;
    receiver.forget_requests();

    let (code, text) = webhook(&world, "replay", &["--since", &since]).await;
    assert!(code == 2 && text.contains("--yes"), "{code}: {text}");
    let text = done(&world, "replay", &["--since", &since, "--yes"]).await;
    assert!(text.contains("2 key(s) again"), "{text}");
    receiver.wait_requests(2).await;
    let text = done(&world, "replay", &["--since", "2100-01-01T00:00:00Z", "--yes"]).await;
    assert!(text.contains("nothing to tell again"), "{text}");
    let (code, _) = webhook(&world, "replay", &["--yes"]).await;
    assert_eq!(code, 2);

    receiver.forget_requests();
    let (code, text) = webhook(&world, "resync", &[]).await;
    assert!(code == 2 && text.contains("--yes"), "{code}: {text}");
    done(&world, "resync", &["--mapping", "users", "--yes"]).await;
    receiver.wait_event("users.backfilled").await;
    assert_eq!(receiver.kinds()[0], "users.resync");
    daemon.stop().await;
}

#[tokio::test]
async fn failed_requests_are_listed_without_values() {
    let (world, receiver, daemon) = told(json!({})).await;
    world.allow("webhook_unwell");
    receiver.play(|_| Play::Answer(503, "", "try later"));
    insert_user(&world, "Ann").await;
    until("an attempt is listed", PATIENCE, async || {
        let text = done(&world, "attempts", &["--status", "503"]).await;
        match text.contains("answers 503: try later") && !text.contains("Ann") {
            true => Ok(()),
            false => Err(text),
        }
    })
    .await;
    let webhook = until_shown(&world, "it is blocked", |w| w["state"] == "blocked").await;
    assert!(webhook["consecutive_failures"].as_i64() > Some(0), "{webhook}");
    let text = done(&world, "attempts", &["--status", "delivered"]).await;
    assert!(text.contains("no such attempt"), "{text}");
    receiver.play(|_| Play::OK);
    done(&world, "enable", &[]).await;
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;
    daemon.stop().await;
}

/// The words of the command that the text prints behind `run: offtake`.
fn printed(text: &str) -> Vec<String> {
    let (_, command) = text.split_once("offtake webhook ").expect("a command");
    let end = command.find([';', '`']).unwrap_or(command.len());
    command[..end].split_whitespace().map(str::to_owned).collect()
}

async fn run_printed(world: &World, text: &str) {
    let words = printed(text);
    let mut command = vec!["webhook"];
    command.extend(words.iter().map(String::as_str));
    world.succeed(&command).await;
}

#[tokio::test]
async fn what_stops_a_webhook_prints_the_command_that_continues_it() {
    let (world, receiver, daemon) = told(json!({})).await;
    world.allow("webhook_disabled");
    receiver.play(|_| Play::Status(410));
    insert_user(&world, "Ann").await;
    let webhook = until_shown(&world, "it is disabled", |w| w["state"] == "disabled").await;
    receiver.play(|_| Play::OK);
    run_printed(&world, webhook["reason"].as_str().unwrap()).await;
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;

    let text = done(&world, "disable", &["--reason", "by hand"]).await;
    run_printed(&world, &text).await;
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;
    let text = done(&world, "pause", &["--reason", "by hand"]).await;
    run_printed(&world, &text).await;
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;
    daemon.stop().await;
}

/// The log's beginning is where its first partition begins.
#[tokio::test]
async fn a_replay_beyond_the_log_prints_where_it_can_begin() {
    let (world, receiver, daemon) = told(json!({})).await;
    insert_user(&world, "Ann").await;
    receiver.wait_requests(1).await;
    until_shown(&world, "it is in sync", |w| w["state"] == "in_sync").await;
    daemon.stop().await;
    // As retention leaves it after ten million changes.
    world
        .source
        .execute("alter table offtake.change_log detach partition offtake.change_log_0")
        .await;
    let (code, text) = webhook(&world, "replay", &["--from", "7", "--yes"]).await;
    assert!(code == 1 && text.contains("no longer goes back so far"), "{code}: {text}");
    let (_, from) = text.split_once("use --from ").unwrap();
    let from = from.split(' ').next().unwrap();
    let text = done(&world, "replay", &["--from", from, "--yes"]).await;
    assert!(text.contains("nothing to tell again"), "{text}");
}

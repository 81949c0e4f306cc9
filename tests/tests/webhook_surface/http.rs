//! The routes under `/api/v1/webhooks`.

use offtake_tests::receiver::Play;
use offtake_tests::{Daemon, World};
use serde_json::{Value, json};

use super::{ADMIN, READER, ask_as, assert_nothing_secret, in_state, insert_user, key_of, told};

async fn ask(daemon: &Daemon, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let (code, text) = ask_as(daemon, ADMIN, method, path, &body).await;
    assert_nothing_secret(&text);
    (code, serde_json::from_str(&text).unwrap_or(Value::Null))
}

async fn post(daemon: &Daemon, world: &World, verb: &str, body: Value) -> (u16, Value) {
    let path = format!("/api/v1/webhooks/{}/main/{verb}", world.id("acme"));
    ask(daemon, "POST", &path, Some(body)).await
}

#[tokio::test]
async fn webhooks_are_read_with_the_read_token_and_changed_with_the_admin_token_only() {
    let (world, receiver, daemon) = told(json!({})).await;
    insert_user(&world, "Ann").await;
    receiver.wait_requests(1).await;
    let webhook = in_state(&daemon, &world, "in_sync").await;
    assert_eq!(webhook["signatures"], json!([{ "kind": "hmac", "fingerprint": "2dd745ff" }]));
    assert_eq!((&webhook["delivered"], &webhook["lag_rows"]), (&json!("1"), &json!("0")));
    let part = world.id("acme")[3..30].to_uppercase();
    let searched = [format!("?search={part}"), format!("?sort=state&search={part}")];
    let queries = ["", "?sort=state", "?state=in_sync", "?sort=state&state=in_sync&limit=1"];
    for query in queries.into_iter().chain(searched.iter().map(String::as_str)) {
        let (code, page) = ask(&daemon, "GET", &format!("/api/v1/webhooks{query}"), None).await;
        assert_eq!((code, &page["next"]), (200, &Value::Null), "{page}");
        assert_eq!(page["items"][0]["mappings"][0]["backfill"], "done", "{query}: {page}");
    }
    for query in ["state=blocked", "search=nobody", "search=nobody&sort=state"] {
        let (_, none) = ask(&daemon, "GET", &format!("/api/v1/webhooks?{query}"), None).await;
        assert_eq!(none["items"], json!([]), "{query}");
    }
    for (path, code) in [
        ("webhooks?state=fine", 400),
        ("webhooks?after=x", 400),
        ("webhooks/nobody/main", 404),
        ("webhooks/nobody/main/attempts", 404),
    ] {
        let (found, problem) = ask(&daemon, "GET", &format!("/api/v1/{path}"), None).await;
        assert_eq!((found, problem["detail"].is_string()), (code, true), "{path}: {problem}");
    }
    let test = format!("/api/v1/webhooks/{}/main/test", world.id("acme"));
    let (code, _) = ask_as(&daemon, READER, "POST", &test, "{}").await;
    assert_eq!(code, 403);
    let status = daemon.status_as(READER).await;
    assert_eq!(status["webhooks"]["states"]["in_sync"], 1);
    assert_eq!(status["webhooks"]["events_total"], "1");
    daemon.stop().await;
}

#[tokio::test]
async fn a_test_over_http_says_how_it_ended() {
    let (world, receiver, daemon) = told(json!({})).await;
    let (code, told) = post(&daemon, &world, "test", json!({})).await;
    assert_eq!((code, &told["acknowledged"], &told["status"]), (200, &json!(true), &json!(200)));
    let row = json!({ "mapping": "users", "key": { "id": key_of(&world, "Ann").await } });
    let (code, told) = post(&daemon, &world, "test", row).await;
    assert_eq!((code, &told["acknowledged"]), (200, &json!(true)), "{told}");
    assert_eq!(receiver.kinds(), ["offtake.test", "users.deleted"]);
    receiver.play(|_| Play::Status(500));
    let (code, told) = post(&daemon, &world, "test", json!({})).await;
    assert_eq!((code, &told["acknowledged"]), (200, &json!(false)), "{told}");
    for body in [json!({ "mapping": "users" }), json!({ "mapping": "users", "key": { "a": 1 } })] {
        let (code, problem) = post(&daemon, &world, "test", body).await;
        assert_eq!(code, 400, "{problem}");
    }
    let unknown = json!({ "mapping": "teams", "key": { "id": 1 } });
    let (code, problem) = post(&daemon, &world, "test", unknown).await;
    assert_eq!(code, 404, "{problem}");
    daemon.stop().await;
}

#[tokio::test]
async fn over_http_a_webhook_is_stopped_continued_and_repeated() {
    let (world, receiver, daemon) = told(json!({})).await;
    let (code, _) = post(&daemon, &world, "pause", json!({})).await;
    assert_eq!(code, 400, "a reason is needed");
    let pause = json!({ "reason": "their release", "for": "1h" });
    let (code, told) = post(&daemon, &world, "pause", pause).await;
    assert_eq!((code, &told["paused"]), (200, &json!(true)));
    in_state(&daemon, &world, "paused").await;
    let (_, told) = post(&daemon, &world, "resume", json!({})).await;
    assert_eq!(told["was_paused"], true);
    let (_, told) = post(&daemon, &world, "disable", json!({ "reason": "they moved" })).await;
    assert_eq!(told["was_enabled"], true);
    in_state(&daemon, &world, "disabled").await;
    insert_user(&world, "Ann").await;
    let (code, _) = post(&daemon, &world, "enable", json!({})).await;
    assert_eq!(code, 202);
    receiver.wait_requests(1).await;
    in_state(&daemon, &world, "in_sync").await;

    let sequence_id = receiver.requests()[0].event["sequence_id"].as_str().unwrap().to_owned();
    let before = (sequence_id.parse::<i64>().unwrap() - 1).to_string();
    let (code, told) = post(&daemon, &world, "replay", json!({ "from": before })).await;
    assert_eq!((code, &told["keys"]), (202, &json!("1")), "{told}");
    let requests = receiver.wait_requests(2).await;
    assert_ne!(requests[0].id(), requests[1].id());
    let again = json!({ "from": before, "same_ids": true });
    post(&daemon, &world, "replay", again).await;
    let requests = receiver.wait_requests(3).await;
    assert_eq!(requests[1].id(), requests[2].id());
    for body in [
        json!({}),
        json!({ "from": "x" }),
        json!({ "from": 1, "since": "2026-11-28T03:00:00Z" }),
        json!({ "until": "2026-11-28T03:00:00Z" }),
        json!({ "since": "soon" }),
    ] {
        let (code, problem) = post(&daemon, &world, "replay", body).await;
        assert_eq!(code, 400, "{problem}");
    }
    let (code, told) = post(&daemon, &world, "resync", json!({ "mapping": "users" })).await;
    assert_eq!((code, &told["mappings"]), (202, &json!(["users"])));
    receiver.wait_event("users.resync").await;
    daemon.stop().await;
}

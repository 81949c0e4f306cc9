//! The operators' commands over HTTP: who may send them, what is answered, and that they take
//! effect.

use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ADMIN: &str = "an-admin-token-of-some-length-0000000000000";
const READER: &str = "a-read-token-of-some-length-000000000000000";

async fn ask(daemon: &Daemon, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let authorization = format!("Bearer {ADMIN}");
    let (code, text) = daemon
        .request(method, &format!("/api/v1/{path}"), &[("Authorization", &authorization)], &body)
        .await;
    (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Stops acme's destination by its fuse and starts it again, and reads the lists.
async fn stop_by_fuse(world: &World, daemon: &Daemon) {
    let fuse = format!("fuses/destination:{}/main", world.id("acme"));
    let (code, told) =
        ask(daemon, "PATCH", &fuse, &json!({ "enabled": false, "reason": "a test", "for": "1h" }))
            .await;
    assert_eq!(
        (code, &told["enabled"], &told["reason"]),
        (200, &json!(false), &json!("a test")),
        "{told}"
    );
    assert!(told["until"].is_string(), "{told}");
    let acme = format!("destinations/{}/main", world.id("acme"));
    assert_eq!(ask(daemon, "GET", &acme, &Value::Null).await.1["state"], "paused");
    let listed = ask(daemon, "GET", "fuses", &Value::Null).await.1;
    assert!(
        listed["items"].as_array().unwrap().iter().any(|f| f["name"] == told["name"])
            && listed["next"].is_null(),
        "{listed}"
    );
    assert_eq!(ask(daemon, "PATCH", &fuse, &json!({ "enabled": true })).await.1["enabled"], true);
    assert_eq!(
        ask(daemon, "GET", "quarantine?limit=1", &Value::Null).await.1,
        json!({ "items": [], "next": null })
    );
}

/// Makes the daemon read its files again, and waits until it has.
async fn reload(daemon: &Daemon) {
    let before = ask(daemon, "GET", "status", &Value::Null).await.1["config"]["loaded_at"].clone();
    assert_eq!(ask(daemon, "POST", "reload", &Value::Null).await.0, 202);
    until("the daemon has loaded its files again", PATIENCE, async || {
        let now = ask(daemon, "GET", "status", &Value::Null).await.1["config"]["loaded_at"].clone();
        if now == before { Err(now.to_string()) } else { Ok(()) }
    })
    .await;
}

/// Requests with a wrong body, path or method get the right status code and a detail.
async fn assert_wrong_requests_are_refused(daemon: &Daemon, acme: &str) {
    for (method, path, body, expect) in [
        ("POST", format!("{acme}/pause"), json!({}), 400),
        ("POST", format!("{acme}/pause"), json!({ "reason": "r", "for": "30" }), 400),
        ("POST", format!("{acme}/pause"), json!({ "colour": "red" }), 400),
        ("POST", format!("{acme}/resync"), json!({ "mapping": "nothing" }), 404),
        ("POST", "destinations/nobody/main/sync".to_owned(), Value::Null, 404),
        ("PATCH", "fuses/nothing".to_owned(), json!({ "enabled": true }), 404),
        ("PATCH", "fuses/sync".to_owned(), json!({ "enabled": false }), 400),
        ("PATCH", "fuses/sync".to_owned(), json!({}), 400),
        ("GET", format!("{acme}/pause"), Value::Null, 405),
        ("GET", "quarantine?after=x".to_owned(), Value::Null, 400),
        ("POST", "quarantine/retry".to_owned(), json!({}), 400),
        (
            "POST",
            "quarantine/retry".to_owned(),
            json!({ "tenant": "a", "destination": "b", "webhook": "c" }),
            400,
        ),
        ("GET", format!("destinations?search={}", "x".repeat(401)), Value::Null, 400),
        ("GET", "destinations?sort=colour".to_owned(), Value::Null, 400),
        ("GET", "events?destinations=perhaps".to_owned(), Value::Null, 400),
        ("GET", "history?after=x".to_owned(), Value::Null, 400),
    ] {
        let (code, told) = ask(daemon, method, &path, &body).await;
        assert!(
            code == expect && told["status"] == expect && told["detail"].is_string(),
            "{method} {path}: {code} {told}"
        );
    }
}

#[tokio::test]
async fn operators_do_over_http_what_the_commands_do() {
    let world = World::with_tenants(["acme", "globex"]).setting("/http/admin_token", ADMIN).await;
    world.fill(30).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = format!("destinations/{}/main", world.id("acme"));
    let post = async |verb: &str, body: Value| {
        ask(&daemon, "POST", &format!("{acme}/{verb}"), &body).await
    };
    let state = async || ask(&daemon, "GET", &acme, &Value::Null).await.1["state"].clone();

    assert_eq!(post("sync", Value::Null).await.0, 202);
    assert_eq!(post("pause", json!({ "reason": "why not", "for": "1h" })).await.0, 200);
    assert_eq!(state().await, "paused");
    assert_eq!(post("resume", Value::Null).await.1, json!({ "paused": false, "was_paused": true }));
    assert_eq!(
        post("resume", json!({ "reason": "it is over" })).await,
        (200, json!({ "paused": false, "was_paused": false }))
    );

    world.tenant("acme").destination.execute("delete from users").await;
    let (code, found) = post("verify", Value::Null).await;
    assert_eq!((code, &found["equal"]), (200, &json!(false)), "{found:#}");
    assert_eq!(post("resync", json!({ "mapping": "users" })).await, (202, json!({ "copies": 1 })));
    world.source.wait_text("select count(*) from offtake.resync_request", "0").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(post("verify", Value::Null).await.1["equal"], true);

    let retry = json!({ "tenant": world.id("acme"), "destination": "main" });
    let retried = ask(&daemon, "POST", "quarantine/retry", &retry).await;
    assert_eq!(retried, (202, json!({ "retried": 0 })));
    let config = ask(&daemon, "GET", "config", &Value::Null).await.1;
    assert_eq!(config["settings"]["http"]["admin_token"], "***", "{config:#}");
    assert_eq!(config["settings"]["sequencer"]["batch_rows"], 10_000, "{config:#}");
    assert!(config["loaded_at"].is_string() && config["error"].is_null(), "{config:#}");

    stop_by_fuse(&world, &daemon).await;
    reload(&daemon).await;
    assert_wrong_requests_are_refused(&daemon, &acme).await;
    daemon.stop().await;
}

#[tokio::test]
async fn only_the_admin_token_changes_anything_and_no_foreign_page() {
    let world = World::with_tenants(["acme"])
        .setting("/http/admin_token", ADMIN)
        .setting("/http/read_token", READER)
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let code = async |token: Option<&str>, origin: Option<&str>| {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = authorization
            .iter()
            .map(|a| ("Authorization", a.as_str()))
            .chain(origin.map(|origin| ("Origin", origin)))
            .collect();
        daemon.request("POST", "/api/v1/reload", &headers, "").await.0
    };
    assert_eq!(code(None, None).await, 401);
    assert_eq!(code(Some("wrong"), None).await, 401);
    assert_eq!(code(Some(READER), None).await, 403);
    assert_eq!(code(Some(ADMIN), Some("https://attacker.example")).await, 403);
    assert_eq!(code(Some(ADMIN), Some("null")).await, 403);
    assert_eq!(code(Some(ADMIN), Some(&format!("http://127.0.0.1:{}", daemon.port()))).await, 202);
    assert_eq!(code(Some(ADMIN), None).await, 202);
    daemon.stop().await;
}

/// Opens `GET /api/v1/events`.
async fn listen(daemon: &Daemon) -> TcpStream {
    listen_to(daemon, "events").await
}

async fn listen_to(daemon: &Daemon, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap();
    let request = format!("GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until `found` is true; returns everything read so far.
async fn read_until(stream: &mut TcpStream, found: impl Fn(&str) -> bool) -> String {
    let mut text = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        while !found(&String::from_utf8_lossy(&text)) {
            let read = stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&piece[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("in time");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn listeners_are_told_every_second_and_are_bounded() {
    let world = World::with_tenants(["acme"]).await;
    let mut daemon = world.daemon().await;
    world.wait_in_step().await;
    let mut first = listen(&daemon).await;
    let text = read_until(&mut first, |text| text.matches("event: status").count() >= 3).await;
    assert!(
        text.contains("content-type: text/event-stream") && text.contains("data: {\"version\""),
        "{text}"
    );
    assert!(text.contains(world.id("acme")), "{text}");
    // Without the list of destinations, but with their number.
    let mut totals = listen_to(&daemon, "events?destinations=false").await;
    let text = read_until(&mut totals, |text| text.matches("event: status").count() >= 2).await;
    assert!(!text.contains(world.id("acme")), "{text}");
    assert!(text.contains("\"in_sync\":1") && text.contains("\"destinations\":[]"), "{text}");
    let mut others = vec![totals];
    for _ in 0..14 {
        let mut other = listen(&daemon).await;
        read_until(&mut other, |text| text.contains("event: status")).await;
        others.push(other);
    }
    let mut refused = listen(&daemon).await;
    assert!(read_until(&mut refused, |text| text.contains("\r\n\r\n")).await.contains("503"));
    others.pop();
    until("a place is free again", PATIENCE, async || {
        let mut again = listen(&daemon).await;
        let text = read_until(&mut again, |text| text.contains("\r\n\r\n")).await;
        if text.contains("200 OK") { Ok(()) } else { Err(text) }
    })
    .await;
    // Listeners do not delay the daemon's end: no connection had to be cut off.
    daemon.terminate();
    assert!(daemon.wait_exit(PATIENCE).await.success());
    let log = daemon.log_text();
    assert!(!log.contains("drain_ended") && !log.contains("grace_exceeded"), "{log}");
}

//! Every error of the API is a problem object, and no name but a loopback one passes without a
//! token.

use offtake_tests::{Daemon, World};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn connect(daemon: &Daemon) -> TcpStream {
    TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap()
}

/// Code, content type and body.
async fn ask(daemon: &Daemon, request: &str) -> (u16, String, String) {
    let mut stream = connect(daemon).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    parts(&answer)
}

fn parts(answer: &[u8]) -> (u16, String, String) {
    let answer = String::from_utf8_lossy(answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    let kind = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-type: ").map(str::to_owned));
    (code, kind.unwrap_or_default(), body.to_owned())
}

fn request(method: &str, path: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    )
}

#[tokio::test]
async fn every_error_is_a_problem_object() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    let json = "Content-Type: application/json\r\n";
    let large = format!(r#"{{"reason": "{}"}}"#, "x".repeat(20_000));
    let deep = "[".repeat(10_000);
    for (wanted, request) in [
        (400, request("GET", "/api/v1/destinations/a%00b/main", "", "")),
        (400, request("GET", "/api/v1/status?tenant=a%00b", "", "")),
        (400, request("POST", "/api/v1/destinations/acme/m%00n/sync", "", "")),
        (400, request("PATCH", "/api/v1/fuses/tenant:%00", json, r#"{"enabled": true}"#)),
        (400, request("GET", "/api/v1/destinations/%ff/main", "", "")),
        (400, request("GET", "/api/v1/status?tenat=a", "", "")),
        (400, request("GET", "/api/v1/destinations?limit=-1", "", "")),
        (400, request("GET", "/api/v1/destinations?limit=99999999999999999999", "", "")),
        (400, request("GET", "/api/v1/quarantine?after=%7B", "", "")),
        (400, request("PATCH", "/api/v1/fuses/sync", json, "{")),
        (400, request("PATCH", "/api/v1/fuses/sync", json, &deep)),
        (
            400,
            request(
                "PATCH",
                "/api/v1/fuses/sync",
                json,
                r#"{"enabled": false, "reason": "\u0000"}"#,
            ),
        ),
        (404, request("PATCH", "/api/v1/fuses/tenant:nobody", json, r#"{"enabled": true}"#)),
        (404, request("GET", "/api/v1/destinations/nobody/main", "", "")),
        (404, request("GET", "/nothing", "", "")),
        (404, request("GET", "/api/v1/nothing", "", "")),
        (405, request("POST", "/api/v1/status", "", "")),
        (405, request("DELETE", "/livez", "", "")),
        (405, request("POST", "/", "", "")),
        (413, request("PATCH", "/api/v1/fuses/sync", json, &large)),
        (415, request("PATCH", "/api/v1/fuses/sync", "Content-Type: text/plain\r\n", "x")),
    ] {
        let line = request.lines().next().unwrap_or_default();
        assert_problem(wanted, line, ask(&daemon, &request).await);
    }
    daemon.stop().await;
}

/// Returns the detail.
fn assert_problem(wanted: u16, asked: &str, (code, kind, body): (u16, String, String)) -> String {
    assert_eq!(code, wanted, "{asked}: {body}");
    assert_eq!(kind, "application/problem+json", "{asked}: {body}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["status"], wanted, "{asked}");
    let told = ["title", "type", "detail"].map(|key| problem[key].as_str().unwrap_or_default());
    assert!(told.iter().all(|text| !text.is_empty()), "{asked}: {body}");
    told[2].to_owned()
}

/// The HTTP library itself answers what it cannot read, with an empty body. Without `Wire`
/// (`crates/admin/src/http/connections/wire.rs`) this fails at the first of them.
#[tokio::test]
async fn what_is_no_request_is_answered_with_a_problem_object_too() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    let get = |more: &str| format!("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n");
    let post =
        |more: &str| format!("POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n");
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    let path = "x".repeat(40_000);
    for (wanted, asked) in [
        (400, "no request\r\n\r\n".to_owned()),
        (400, "GET / HTTP\r\n\r\n".to_owned()),
        (400, "GET /\u{1} HTTP/1.1\r\n\r\n".to_owned()),
        (400, "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}".to_owned()),
        (400, get("No colon\r\n")),
        (400, get("X: a\u{0}b\r\n")),
        (400, post("Content-Length: x\r\n")),
        (400, post("Content-Length: 1\r\nContent-Length: 2\r\n")),
        (400, post("Transfer-Encoding: gzip\r\n")),
        (400, post("Transfer-Encoding: chunked\r\n") + "no size\r\n"),
        (414, format!("GET /{path} HTTP/1.1\r\n\r\n")),
        (414, path.clone()),
        (431, get(&format!("X: {path}\r\n"))),
        (431, get(&many)),
        (505, "GET / HTTP/2.0\r\n\r\n".to_owned()),
        (505, "GET / HTTP/3\r\n\r\n".to_owned()),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
    ] {
        let line: String = asked.chars().take(60).collect();
        let told = assert_problem(wanted, &line, ask(&daemon, &asked).await);
        assert!(!told.contains('\u{1}') && told.len() < 200, "{line}: {told}");
        // What was asked before it on the same connection is answered first.
        let mut stream = connect(&daemon).await;
        stream.write_all((get("") + &asked).as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).await.unwrap();
        let both = String::from_utf8_lossy(&answers).into_owned();
        let (first, second) = both.split_at(both.rfind("\nHTTP/1.1 ").unwrap() + 1);
        assert!(first.starts_with("HTTP/1.1 200") && first.ends_with("ok\n"), "{line}: {both}");
        assert_problem(wanted, &line, parts(second.as_bytes()));
    }
    daemon.stop().await;
}

/// A request that does not end: by time, or because the client ends it.
#[tokio::test]
async fn a_request_that_does_not_end_is_told_so_and_silence_is_not_answered() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    let head = "GET /livez HTTP/1.1\r\nHost: 12";
    let mut ended = connect(&daemon).await;
    ended.write_all(head.as_bytes()).await.unwrap();
    ended.shutdown().await.unwrap();
    let body = "POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{";
    let (mut slow, mut silent, mut in_body) =
        (connect(&daemon).await, connect(&daemon).await, connect(&daemon).await);
    slow.write_all(head.as_bytes()).await.unwrap();
    in_body.write_all(body.as_bytes()).await.unwrap();
    let read = async |mut stream: TcpStream| {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let told = assert_problem(400, "ended", parts(&read(ended).await));
    assert!(told.contains("ended"), "{told}");
    let told = assert_problem(408, "slow headers", parts(&read(slow).await));
    assert!(told.contains("headers"), "{told}");
    let told = assert_problem(408, "slow body", parts(&read(in_body).await));
    assert!(told.contains("body"), "{told}");
    let mut some = Vec::new();
    silent.read_to_end(&mut some).await.unwrap();
    assert!(some.is_empty(), "nothing was asked: {some:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn only_a_loopback_name_passes_without_a_token() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    let as_host = |host: &str| {
        format!("GET /api/v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    for host in ["localhost", "localhost:8080", "127.0.0.1", "[::1]:80", "[::1]"] {
        assert_eq!(ask(&daemon, &as_host(host)).await.0, 200, "{host}");
    }
    for host in [
        "[::1].evil.example",
        "[::1]evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost:80.evil.example",
        "[localhost]",
        "evil.example",
    ] {
        let (code, ..) = ask(&daemon, &as_host(host)).await;
        assert!(code == 421 || code == 400, "{host}: {code}");
    }
    daemon.stop().await;
}

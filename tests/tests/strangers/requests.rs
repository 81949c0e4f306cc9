//! Every error of the API is a problem object, and no name but a loopback one passes without a
//! token.

use offtake_tests::{Daemon, World};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Code, content type and body.
async fn ask(daemon: &Daemon, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
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
        let (code, kind, body) = ask(&daemon, &request).await;
        let line = request.lines().next().unwrap_or_default();
        assert_eq!(code, wanted, "{line}: {body}");
        assert_eq!(kind, "application/problem+json", "{line}: {body}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], wanted, "{line}");
        let told = ["title", "detail", "type"].map(|key| problem[key].as_str().unwrap_or_default());
        assert!(told.iter().all(|text| !text.is_empty()), "{line}: {body}");
    }
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

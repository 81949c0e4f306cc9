//! The document itself, and the one route whose answer has no end.

use std::collections::BTreeSet;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::{READER, ask_as, document, two_tenants};

#[tokio::test]
async fn the_document_is_for_readers_and_its_names_are_the_answers() {
    let (_world, _receiver, daemon) = two_tenants().await;
    let (code, _) = daemon.get("/api/v1/openapi.json").await;
    assert_eq!(code, 401);
    let document = document(&daemon).await;
    assert_eq!(document["openapi"], "3.1.0");
    let (_, text) = ask_as(&daemon, READER, "/api/v1/status").await;
    assert_fields(&document, "Status", &serde_json::from_str(&text).unwrap());
    daemon.stop().await;
}

#[tokio::test]
async fn what_wants_a_token_is_not_answered_without_it() {
    let (_world, _receiver, daemon) = two_tenants().await;
    let mut asked = 0;
    for (path, methods) in document(&daemon).await["paths"].as_object().unwrap() {
        let path = path.replace("{tenant}", "acme").replace("{name}", "main");
        for (method, operation) in methods.as_object().unwrap() {
            if operation["security"].as_array().unwrap().is_empty() {
                continue;
            }
            let (code, text) = daemon.request(&method.to_uppercase(), &path, &[], "").await;
            assert_eq!(code, 401, "{method} {path}: {text}");
            asked += 1;
        }
    }
    assert!(asked > 25, "only {asked} were asked");
    daemon.stop().await;
}

#[tokio::test]
async fn the_events_are_the_status_as_described() {
    let (_world, _receiver, daemon) = two_tenants().await;
    let document = document(&daemon).await;
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap();
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {READER}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut kind = String::new();
    let data = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(told) = line.to_lowercase().strip_prefix("content-type: ") {
            kind = told.to_owned();
        }
        if let Some(data) = line.strip_prefix("data: ") {
            break data.to_owned();
        }
    };
    let described = &document["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"];
    assert!(described[kind.as_str()].is_object(), "{kind}: {described}");
    assert_fields(&document, "Status", &serde_json::from_str(&data).unwrap());
    daemon.stop().await;
}

/// The answer has the fields that the document says, and no other.
fn assert_fields(document: &serde_json::Value, schema: &str, answer: &serde_json::Value) {
    let names = |value: &serde_json::Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let described = &document["components"]["schemas"][schema]["properties"];
    assert_eq!(names(described), names(answer));
}

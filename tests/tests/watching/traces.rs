//! Traces are sent to a collector by OTLP, as the protocol says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use offtake_tests::{PATIENCE, World, until};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, status};
use prost::Message as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A collector that decodes what it is sent and keeps it.
#[derive(Clone, Default)]
struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    /// It listens on this machine; the port.
    async fn listen(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let collector = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(collector.clone().answer(stream));
            }
        });
        port
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let end = loop {
            let found = request.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = found {
                break end + 4;
            }
            assert!(stream.read_buf(&mut request).await.expect("a request") > 0, "it ended");
        };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
        while request.len() < end + length {
            assert!(stream.read_buf(&mut request).await.expect("a body") > 0, "it ended");
        }
        let body = ExportTraceServiceRequest::decode(&request[end..end + length]);
        self.requests.lock().expect("no panic").push(body.expect("what OTLP says"));
        let answer =
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.expect("it reads the answer");
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("no panic");
        let scopes = requests.iter().flat_map(|r| &r.resource_spans).flat_map(|r| &r.scope_spans);
        scopes.flat_map(|scope| &scope.spans).cloned().collect()
    }

    fn resource(&self) -> BTreeMap<String, String> {
        let requests = self.requests.lock().expect("no panic");
        let resource = requests.iter().flat_map(|r| &r.resource_spans).next();
        texts(&resource.and_then(|r| r.resource.as_ref()).expect("a resource").attributes)
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some((attribute.key.clone(), text.clone())),
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}

/// The names of the spans inside of this one. Each lasts no longer than it.
fn inside(spans: &[Span], turn: &Span) -> Vec<String> {
    let children = spans.iter().filter(|span| span.parent_span_id == turn.span_id);
    let mut names = Vec::new();
    for child in children {
        assert_eq!(child.trace_id, turn.trace_id);
        assert!(child.start_time_unix_nano >= turn.start_time_unix_nano, "{child:?} of {turn:?}");
        assert!(child.end_time_unix_nano <= turn.end_time_unix_nano, "{child:?} of {turn:?}");
        names.push(child.name.clone());
    }
    names.sort();
    names
}

#[tokio::test]
async fn a_turn_is_a_span_with_its_stages() {
    let mut world = World::with_tenants(["acme", "globex"])
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" }))
        .await;
    let collector = Collector::default();
    let port = collector.listen().await;
    world.configure(|c| {
        c["telemetry"]["otlp_endpoint"] = format!("http://127.0.0.1:{port}").into();
    });
    world.reach_by("globex", |url| url.replace("/destination", "/nowhere"));
    world.allow("destination_failed");
    let daemon = world.daemon().await;
    let acme = ["acme"];
    world.wait_tenants_in_step(&acme, PATIENCE).await;
    world.fill(10).await;
    world.wait_tenants_in_step(&acme, PATIENCE).await;
    let (acme, globex) = (world.id("acme").to_owned(), world.id("globex").to_owned());
    until("a turn that wrote and one that failed are told", PATIENCE, async || {
        let spans = collector.spans();
        let turns = || spans.iter().filter(|span| span.name == "sync");
        let of = |span: &Span, tenant: &str| {
            texts(&span.attributes).get("offtake.tenant").is_some_and(|id| id == tenant)
        };
        let wrote = turns().filter(|turn| of(turn, &acme)).any(|turn| {
            let stages = inside(&spans, turn);
            ["apply", "claim", "fetch", "mirror"]
                .iter()
                .all(|stage| stages.iter().any(|s| s == stage))
        });
        let failed = turns().filter(|turn| of(turn, &globex)).any(|turn| {
            turn.status.as_ref().is_some_and(|s| s.code() == status::StatusCode::Error)
        });
        if wrote && failed {
            Ok(())
        } else {
            Err(format!("{wrote} {failed} in {} spans", spans.len()))
        }
    })
    .await;
    let resource = collector.resource();
    assert_eq!(resource["service.name"], "offtake");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));

    // What is left is sent at the end.
    let before = collector.spans().len();
    world.source.execute("update project_user set display_name = display_name || '!'").await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    daemon.stop().await;
    assert!(collector.spans().len() > before);
}

/// A collector that is away costs nothing but its traces.
#[tokio::test]
async fn a_collector_that_is_away_delays_nothing_and_is_told_once() {
    let world = World::with_tenants(["acme"])
        .setting("/telemetry/otlp_endpoint", "http://127.0.0.1:1")
        .await;
    world.allow("traces_lost");
    let daemon = world.daemon().await;
    world.fill(5).await;
    world.wait_in_step().await;
    daemon.wait_logged("traces_lost").await;
    world.source.execute("update project_user set display_name = display_name || '!'").await;
    world.wait_in_step().await;
    let log = daemon.stop().await;
    assert_eq!(log.iter().filter(|line| line.event == "traces_lost").count(), 1);
}

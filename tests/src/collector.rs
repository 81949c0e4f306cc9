//! A collector of traces, as OTLP over HTTP has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A collector that decodes what it is sent and keeps it.
#[derive(Clone, Default)]
pub struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    /// It listens on this machine. Returns its URL.
    pub async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let collector = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(collector.clone().answer(stream));
            }
        });
        format!("http://127.0.0.1:{port}")
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

    /// All that it was sent.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("no panic");
        let scopes = requests.iter().flat_map(|r| &r.resource_spans).flat_map(|r| &r.scope_spans);
        scopes.flat_map(|scope| &scope.spans).cloned().collect()
    }

    /// The attributes of the process that sent the first spans.
    pub fn resource(&self) -> BTreeMap<String, String> {
        let requests = self.requests.lock().expect("no panic");
        let resource = requests.iter().flat_map(|r| &r.resource_spans).next();
        texts(&resource.and_then(|r| r.resource.as_ref()).expect("a resource").attributes)
    }
}

/// The attributes that are text.
pub fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some((attribute.key.clone(), text.clone())),
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}

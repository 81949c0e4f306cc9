//! A receiver of webhooks that answers as a test wants, and applies what it acknowledged to a map:
//! of each key the event with the greatest `as_of` counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Before it is answered.
    pub(crate) wait: Duration,
}

impl Answer {
    pub(crate) fn of(status: u16) -> Self {
        Self { status, headers: Vec::new(), wait: Duration::ZERO }
    }
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) body: Value,
}

impl Request {
    /// The events of a batch, or the only one.
    pub(crate) fn events(&self) -> Vec<Value> {
        match self.body["type"].as_str() {
            Some("offtake.batch") => self.body["data"].as_array().cloned().unwrap_or_default(),
            _ => vec![self.body.clone()],
        }
    }
}

type Rule = Box<dyn FnMut(&Value) -> Answer + Send>;

struct State {
    requests: Vec<Request>,
    /// By mapping and key.
    rows: BTreeMap<(String, String), (i64, Value)>,
    rule: Rule,
    at_work: usize,
    at_work_max: usize,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// Acknowledges everything.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            requests: Vec::new(),
            rows: BTreeMap::new(),
            rule: Box::new(|_| Answer::of(204)),
            at_work: 0,
            at_work_max: 0,
        };
        let receiver = Self { port, state: Arc::new(Mutex::new(state)) };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    // The daemon may be killed at any moment.
                    let _ = serving.serve(stream).await;
                });
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// From now on each body is answered so.
    pub(crate) fn answer(&self, rule: impl FnMut(&Value) -> Answer + Send + 'static) {
        self.lock().rule = Box::new(rule);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// The types of the events, in the order in which they came.
    pub(crate) fn types(&self) -> Vec<String> {
        let events = self.requests().into_iter().flat_map(|request| request.events());
        events.map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The rows of one mapping, by the key's JSON.
    pub(crate) fn rows(&self, mapping: &str) -> BTreeMap<String, Value> {
        let state = self.lock();
        let of_mapping = state.rows.iter().filter(|((of, _), _)| of == mapping);
        of_mapping
            .filter(|(_, (_, data))| !data.is_null())
            .map(|((_, key), (_, data))| (key.clone(), data.clone()))
            .collect()
    }

    /// So many requests were in progress at once.
    pub(crate) fn at_work_max(&self) -> usize {
        self.lock().at_work_max
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            let Some(head_end) = read_until_head(&mut stream, &mut bytes).await? else {
                return Ok(());
            };
            let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
            let header = |name: &str| {
                head.lines().find_map(|line| {
                    let (found, value) = line.split_once(':')?;
                    found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
                })
            };
            let length: usize = header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
            while bytes.len() < head_end + length {
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
            }
            let rest = bytes.split_off(head_end + length);
            let body: Value = serde_json::from_slice(&bytes[head_end..]).unwrap_or_default();
            bytes = rest;
            let id = header("webhook-id").unwrap_or_default();
            let answer = self.received(id, body);
            tokio::time::sleep(answer.wait).await;
            self.lock().at_work -= 1;
            let headers: String =
                answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let text =
                format!("HTTP/1.1 {} X\r\ncontent-length: 0\r\n{headers}\r\n", answer.status);
            let length =
                if answer.status == 204 { text.replace("content-length: 0\r\n", "") } else { text };
            stream.write_all(length.as_bytes()).await?;
        }
    }

    fn received(&self, id: String, body: Value) -> Answer {
        let mut state = self.lock();
        state.at_work += 1;
        state.at_work_max = state.at_work_max.max(state.at_work);
        let answer = (state.rule)(&body);
        let acknowledged = (200..300).contains(&answer.status);
        let request = Request { id, body };
        if acknowledged {
            for event in request.events() {
                apply(&mut state.rows, &event);
            }
        }
        state.requests.push(request);
        answer
    }
}

fn apply(rows: &mut BTreeMap<(String, String), (i64, Value)>, event: &Value) {
    if event["key"].is_null() {
        return;
    }
    let mapping = event["mapping"].as_str().unwrap_or_default().to_owned();
    let as_of: i64 = event["as_of"].as_str().and_then(|id| id.parse().ok()).unwrap_or(0);
    let known = rows.entry((mapping, event["key"].to_string())).or_insert((0, Value::Null));
    if as_of >= known.0 {
        *known = (as_of, event["data"].clone());
    }
}

async fn read_until_head(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
) -> std::io::Result<Option<usize>> {
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(Some(at + 4));
        }
        if stream.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

//! A receiver of webhooks inside the test. It verifies each request with the official library, keeps
//! the newest state of each row as docs/webhooks.md tells receivers to, and answers as the test says.
//!
//! ```no_run
//! # async fn example() {
//! use offtake_tests::{World, receiver::{Play, Receiver}};
//!
//! let mut world = World::with_tenants(["acme"]).await;
//! let receiver = Receiver::start().await;
//! world.add_webhook("acme", &receiver, serde_json::json!({}));
//! receiver.play(|request| if request.event["type"] == "users.deleted" { Play::Status(503) } else { Play::OK });
//! let daemon = world.daemon().await;
//! receiver.wait_equal(&world, "acme").await; // what it was told of equals the queries
//! # }
//! ```

mod books;
mod libraries;
mod wire;
mod wired;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{PATIENCE, until};
use books::Books;
pub use books::Row;
pub use libraries::{Language, LibraryReceiver, Said, installed, verify_with};

/// A secret of Standard Webhooks' own examples.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub at: Instant,
    /// Of the receiver's connections, counted from 1.
    pub connection: usize,
    pub target: String,
    /// With their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// The body; null if it is no JSON.
    pub event: Value,
    /// Why the library refuses it; None: it verifies.
    pub refused: Option<String>,
    /// How many requests with the same id there were, this one included.
    pub time: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default()
    }

    /// The event, or those of the batch, each with its id.
    pub fn events(&self) -> Vec<(String, Value)> {
        if self.kind() != "offtake.batch" {
            return vec![(self.id().to_owned(), self.event.clone())];
        }
        let events = self.event["data"].as_array().cloned().unwrap_or_default();
        let id =
            |event: &Value| event["id"].as_str().expect("an event of a batch has an id").into();
        events.into_iter().map(|event| (id(&event), event)).collect()
    }
}

/// How the receiver answers a request.
#[derive(Debug, Clone)]
pub enum Play {
    /// This status without a body. 2xx: the events are taken.
    Status(u16),
    /// A status with lines of the head (`Name: value`) and a body. 2xx: the events are taken.
    Answer(u16, &'static str, &'static str),
    /// The events are taken, and the connection breaks before the answer.
    Lost,
    /// Nothing is taken, and the connection breaks.
    Reset,
    /// Waits, then plays.
    After(Duration, Box<Play>),
    /// Never answers.
    Silent,
    /// These bytes, then the same chunk without end, as fast as the daemon takes them.
    Pour(&'static str, &'static str),
    /// These bytes, one every 20 ms, then waits.
    Drip(&'static str),
}

impl Play {
    pub const OK: Self = Self::Status(200);

    /// Waits, then plays.
    pub fn after(self, wait: Duration) -> Self {
        Self::After(wait, Box::new(self))
    }
}

type Script = Arc<dyn Fn(&Request) -> Play + Send + Sync>;

/// An HTTP server on a port of 127.0.0.1; it ends when dropped.
pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    secret: Mutex<String>,
    script: Mutex<Script>,
    requests: Mutex<Vec<Request>>,
    books: Mutex<Books>,
    connections: AtomicUsize,
    /// Bytes that [`Play::Pour`] could send.
    poured: AtomicUsize,
    keeps: AtomicBool,
    ended: CancellationToken,
}

impl Receiver {
    /// A receiver that knows [`SECRET`] and takes everything.
    pub async fn start() -> Self {
        Self::listening("127.0.0.1:0", None).await
    }

    /// The same on the same port of another address of this machine.
    pub async fn start_beside(&self, host: &str) -> Self {
        Self::listening(&format!("{host}:{}", self.port()), None).await
    }

    /// The same, with TLS.
    pub async fn start_with_tls(tls: rustls::ServerConfig) -> Self {
        Self::listening("127.0.0.1:0", Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn listening(address: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            secret: Mutex::new(SECRET.to_owned()),
            script: Mutex::new(Arc::new(|_| Play::OK)),
            requests: Mutex::default(),
            books: Mutex::default(),
            connections: AtomicUsize::new(0),
            poured: AtomicUsize::new(0),
            keeps: AtomicBool::new(true),
            ended: CancellationToken::new(),
        });
        tokio::spawn(wire::serve(listener, tls, shared.clone()));
        Self { shared, address }
    }

    /// The URL of a webhook, with a path and a query that must never be shown.
    pub fn url(&self) -> String {
        self.url_at("http", &self.address.ip().to_string())
    }

    /// The same with another scheme and host.
    pub fn url_at(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}/hook/{HIDDEN_PATH}?token={HIDDEN_QUERY}", self.port())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Verifies with this secret from now on.
    pub fn know(&self, secret: &str) {
        secret.clone_into(&mut lock(&self.shared.secret));
    }

    /// Answers like this from now on.
    pub fn play(&self, script: impl Fn(&Request) -> Play + Send + Sync + 'static) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// Counts requests only, for runs with a million of them.
    pub fn keep_nothing(&self) {
        self.shared.keeps.store(false, Ordering::Relaxed);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// All events so far, with their ids, taken or not.
    pub fn events(&self) -> Vec<(String, Value)> {
        self.requests().iter().flat_map(Request::events).collect()
    }

    /// The types of all events so far.
    pub fn kinds(&self) -> Vec<String> {
        let kind = |(_, event): (String, Value)| event["type"].as_str().unwrap_or_default().into();
        self.events().into_iter().map(kind).collect()
    }

    /// Connections that were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Bytes that a [`Play::Pour`] could send so far.
    pub fn poured(&self) -> usize {
        self.shared.poured.load(Ordering::Relaxed)
    }

    /// Forgets the requests, and nothing of what was taken.
    pub fn forget_requests(&self) {
        lock(&self.shared.requests).clear();
    }

    /// The rows of a mapping that are there, as far as it was told: `data` of each.
    pub fn rows(&self, mapping: &str) -> Vec<Value> {
        lock(&self.shared.books).rows(mapping)
    }

    /// The state of every key that it was told of.
    pub fn known(&self) -> Vec<Row> {
        lock(&self.shared.books).known()
    }

    /// What happened that must not: a request that does not verify, an id with two contents, `as_of`
    /// of a key that fell.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.shared.books).complaints.clone()
    }

    /// Panics if there are [`Self::complaints`].
    pub fn assert_content(&self) {
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the receiver complains:\n{}", complaints.join("\n"));
    }

    /// Waits until this many requests have come, and returns them.
    pub async fn wait_requests(&self, count: usize) -> Vec<Request> {
        self.wait_for(&format!("{count} requests"), |requests| requests.len() >= count).await
    }

    /// Waits until the requests so far meet the condition, and returns them.
    pub async fn wait_for(
        &self,
        what: &str,
        condition: impl Fn(&[Request]) -> bool,
    ) -> Vec<Request> {
        until(&format!("the receiver has {what}"), PATIENCE, async || {
            let requests = self.requests();
            if condition(&requests) {
                return Ok(requests);
            }
            let last = requests.iter().rev().take(8).map(|r| format!("{} {}", r.kind(), r.id()));
            Err(format!("{} requests, last: {:?}", requests.len(), last.collect::<Vec<_>>()))
        })
        .await
    }

    /// Waits until it was told of an event of this type, and returns the first.
    pub async fn wait_event(&self, kind: &str) -> Value {
        let of_kind = |event: &Value| event["type"] == kind;
        until(&format!("the receiver is told {kind}"), PATIENCE, async || {
            let found = self.events().into_iter().map(|(_, event)| event).find(of_kind);
            found.ok_or_else(|| format!("{:?}", self.kinds()))
        })
        .await
    }
}

/// In the URL of every receiver: no output and no log may have it.
pub const HIDDEN_PATH: &str = "path-that-is-secret";
/// The same, in its query.
pub const HIDDEN_QUERY: &str = "query-that-is-secret";

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.ended.cancel();
    }
}

impl Shared {
    /// Notes a request, and says how it is answered.
    fn receive(&self, mut request: Request) -> (Request, Play) {
        request.refused = self.refused(&request);
        let mut requests = lock(&self.requests);
        request.time = 1 + requests.iter().filter(|other| other.id() == request.id()).count();
        if self.keeps.load(Ordering::Relaxed) {
            requests.push(request.clone());
        }
        drop(requests);
        lock(&self.books).look(&request);
        let script = lock(&self.script).clone();
        let play = script(&request);
        (request, play)
    }

    fn refused(&self, request: &Request) -> Option<String> {
        let mut headers = http::HeaderMap::new();
        for (name, value) in &request.headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, http::HeaderValue::from_str(value).ok()?);
        }
        let webhook = Webhook::new(&lock(&self.secret)).expect("a secret");
        webhook.verify(&request.body, &headers).err().map(|error| error.to_string())
    }

    fn take(&self, request: &Request) {
        lock(&self.books).take(request);
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

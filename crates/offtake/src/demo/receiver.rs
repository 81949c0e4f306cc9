//! The first customer's webhook: a receiver that verifies each request, keeps the newest state of
//! each user, and at the end must know what the mapping's query says.
//!
//! It does what docs/webhooks.md asks of receivers, on a connection at a time per task, and reads as
//! much of HTTP as Offtake writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, bail};
use offtake_mapping::{MappingSet, literal};
use offtake_webhooks::{SecretKind, Secrets, fresh_secret};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::Client;

use super::performance::{IN_STEP_WITHIN, LOOK_EVERY};

/// The mapping that the webhook is told of.
pub(super) const MAPPING: &str = "users";

/// More than an event can have.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A receiver on a port of this machine. It ends with the demo's runtime.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    /// `whsec_…`
    pub(super) secret: String,
    books: Arc<Mutex<Books>>,
}

/// What it was told.
#[derive(Default)]
struct Books {
    requests: u64,
    unverified: u64,
    repeated: u64,
    seen: BTreeSet<String>,
    /// By key: `as_of`, and the row; None: it is gone.
    rows: BTreeMap<String, (i64, Option<Value>)>,
}

/// How what the receiver knows compares with the query.
pub(super) struct Picture {
    pub(super) requests: u64,
    pub(super) unverified: u64,
    pub(super) repeated: u64,
    pub(super) known: usize,
    pub(super) equal: bool,
}

impl Receiver {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.context("no port for the receiver")?;
        let (secret, _) = fresh_secret(SecretKind::Symmetric);
        let secret = secret.expose_secret().to_owned();
        let secrets = Arc::new(Secrets::parse(&[&secret]).map_err(anyhow::Error::msg)?);
        let receiver = Self { address: listener.local_addr()?, secret, books: Arc::default() };
        let books = receiver.books.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks is the daemon's to try again.
                let conversation = converse(stream, secrets.clone(), books.clone());
                tokio::spawn(async move { drop(conversation.await) });
            }
        });
        Ok(receiver)
    }

    /// Waits until it knows what the query says, or for as long as the demo waits for anything.
    pub(super) async fn compare(
        &self,
        source: &Client,
        mappings: &MappingSet,
        tenant_id: &str,
    ) -> anyhow::Result<Picture> {
        let mapping = mappings.mappings().iter().find(|mapping| mapping.name() == MAPPING);
        let query = &mapping.context("the demo has no such mapping")?.definition.query;
        let sql = format!(
            "select (to_jsonb(q) - 'tenant_id')::text from ({query}\n) q where tenant_id = {}",
            literal(tenant_id)
        );
        source.batch_execute("set timezone = 'UTC'").await?;
        let begun = Instant::now();
        loop {
            let mut wanted = Vec::new();
            for row in source.query(&sql, &[]).await? {
                wanted.push(in_order(&serde_json::from_str(row.get(0))?));
            }
            wanted.sort_unstable();
            let picture = self.picture(&wanted);
            if picture.equal || begun.elapsed() > IN_STEP_WITHIN {
                return Ok(picture);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn picture(&self, wanted: &[String]) -> Picture {
        let books = lock(&self.books);
        let rows = books.rows.values().filter_map(|(_, row)| row.as_ref());
        let mut known: Vec<String> = rows.map(in_order).collect();
        known.sort_unstable();
        Picture {
            requests: books.requests,
            unverified: books.unverified,
            repeated: books.repeated,
            known: known.len(),
            equal: known == wanted,
        }
    }
}

/// Request after request, until the connection ends.
async fn converse(
    mut stream: TcpStream,
    secrets: Arc<Secrets>,
    books: Arc<Mutex<Books>>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    loop {
        let (headers, body) = read(&mut stream, &mut unread).await?;
        let answer = match lock(&books).take(&secrets, &headers, &body) {
            Ok(()) => "HTTP/1.1 204 No Content\r\n\r\n",
            Err(_) => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

type Headers = BTreeMap<String, String>;

async fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> anyhow::Result<(Headers, Vec<u8>)> {
    let end = loop {
        match unread.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => more(stream, unread).await?,
        }
    };
    let head = std::str::from_utf8(&unread[..end])?;
    let split = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: Headers = head.split("\r\n").filter_map(split).collect();
    let length: usize = headers.get("content-length").context("no length")?.parse()?;
    while unread.len() < end + length {
        more(stream, unread).await?;
    }
    let mut body = unread.split_off(end);
    *unread = body.split_off(length);
    Ok((headers, body))
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> anyhow::Result<()> {
    if stream.read_buf(unread).await? == 0 || unread.len() > REQUEST_BYTES_MAX {
        bail!("the connection ended, or the request is too large");
    }
    Ok(())
}

impl Books {
    /// An error: it does not verify.
    fn take(&mut self, secrets: &Secrets, headers: &Headers, body: &[u8]) -> anyhow::Result<()> {
        self.requests += 1;
        let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
        let id = header("webhook-id");
        let at = header("webhook-timestamp").parse().unwrap_or_default();
        if secrets.sign(id, at, body) != header("webhook-signature") {
            self.unverified += 1;
            bail!("it does not verify");
        }
        if !self.seen.insert(id.to_owned()) {
            self.repeated += 1;
            return Ok(());
        }
        let event: Value = serde_json::from_slice(body)?;
        let as_of = event["as_of"].as_str().unwrap_or_default().parse()?;
        if !event["key"].is_null() {
            let row = Some(event["data"].clone()).filter(|data| !data.is_null());
            let known = self.rows.entry(event["key"].to_string()).or_insert((as_of, None));
            // A late request is older than what is known.
            if known.0 <= as_of {
                *known = (as_of, row);
            }
        }
        Ok(())
    }
}

/// As text that is the same for equal rows.
fn in_order(row: &Value) -> String {
    let fields: BTreeMap<_, _> = row.as_object().into_iter().flatten().collect();
    format!("{fields:?}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

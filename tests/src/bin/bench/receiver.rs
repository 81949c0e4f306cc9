//! A receiver of webhooks that does as little as a receiver can: it counts events, and notes when
//! each webhook was told. The path of its URL is the webhook's number.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Of Standard Webhooks' own examples. Nothing here is verified: it would be the receiver's time.
pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Ends when dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    told: Arc<Told>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Told {
    events: AtomicU64,
    /// By webhook: when the answer to its latest request was written.
    answered: Mutex<HashMap<u32, Instant>>,
    /// Webhooks with smaller numbers get no answer.
    silent_below: AtomicU32,
    changed: Notify,
}

impl Receiver {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let told = Arc::new(Told::default());
        let shared = told.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let told = shared.clone();
                // A connection ends with an error when the daemon ends it.
                tokio::spawn(async move { drop(converse(stream, &told).await) });
            }
        });
        Ok(Self { address, told, accepting })
    }

    /// What the number of a webhook is appended to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Webhooks with smaller numbers get no answer from now on.
    pub(crate) fn be_silent_below(&self, number: u32) {
        self.told.silent_below.store(number, Ordering::Relaxed);
    }

    /// Forgets what was told.
    pub(crate) fn begin(&self) {
        self.told.events.store(0, Ordering::Relaxed);
        self.answered().clear();
    }

    pub(crate) fn events(&self) -> u64 {
        self.told.events.load(Ordering::Relaxed)
    }

    /// When the latest request of each webhook was answered.
    pub(crate) fn answered(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Instant>> {
        self.told.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it was told so many events since [`Self::begin`].
    pub(crate) async fn wait_events(&self, events: u64) -> anyhow::Result<()> {
        const WITHIN: std::time::Duration = std::time::Duration::from_secs(300);
        let wait = async {
            while self.events() < events {
                self.told.changed.notified().await;
            }
        };
        let waited = tokio::time::timeout(WITHIN, wait).await;
        waited.with_context(|| format!("{} of {events} events came", self.events()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn converse(mut stream: TcpStream, told: &Told) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::with_capacity(64 * 1024);
    loop {
        let end = loop {
            match unread.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => more(&mut stream, &mut unread).await?,
            }
        };
        let head = std::str::from_utf8(&unread[..end])?;
        let path = head.split(' ').nth(1).context("no path")?;
        let number: u32 = path.trim_start_matches('/').parse()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("no length")?.parse()?;
        while unread.len() < end + length {
            more(&mut stream, &mut unread).await?;
        }
        if number < told.silent_below.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let events = events_in(&unread[end..end + length]);
        unread.drain(..end + length);
        stream.write_all(ANSWER).await?;
        told.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Instant::now());
        told.events.fetch_add(events, Ordering::Relaxed);
        told.changed.notify_waiters();
    }
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> anyhow::Result<()> {
    if stream.read_buf(unread).await? == 0 {
        bail!("the connection ended");
    }
    Ok(())
}

/// How many events a body has: each event of a batch begins with its id.
fn events_in(body: &[u8]) -> u64 {
    const ITEM: &[u8] = b"{\"id\":\"evt_";
    let items = body.iter().enumerate().filter(|(_, byte)| **byte == b'{');
    (items.filter(|(at, _)| body[*at..].starts_with(ITEM)).count() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted() {
        assert_eq!(events_in(br#"{"type":"events.upserted","data":{"id":"1"}}"#), 1);
        let batch = br#"{"type":"offtake.batch","data":[{"id":"evt_a","data":{}},{"id":"evt_b"}]}"#;
        assert_eq!(events_in(batch), 2);
    }
}

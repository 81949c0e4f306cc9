//! The open connections: how many there may be, which of them are idle, and how one is made.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use metrics::gauge;
use offtake_egress::{ClientCertificate, Error, Remote, SocketDialer};
use offtake_loops::metrics as names;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// An idle connection is kept for so long.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How often the idle ones are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// An open connection to one endpoint. It closes when this is dropped.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) address: IpAddr,
}

/// The connections of all webhooks together. Clones are the same.
#[derive(Clone)]
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    max: usize,
    /// Requests that wait for a place: for them idle connections are closed.
    waiting: Arc<AtomicUsize>,
    idle: Arc<Mutex<Idle>>,
}

/// The right to have one connection open.
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    connections: Connections,
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.connections.tell();
    }
}

#[derive(Default)]
struct Idle {
    /// By the endpoint's number, the one that was used last at the end.
    connections: HashMap<u64, Vec<(Instant, Connection)>>,
    count: usize,
    swept: bool,
}

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(max));
        Self { permits, max, waiting: Arc::default(), idle: Arc::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the metrics how many are open.
    fn tell(&self) {
        let (open, idle) = self.counts();
        gauge!(names::WEBHOOK_CONNECTIONS, "state" => "busy").set(open.saturating_sub(idle) as f64);
        gauge!(names::WEBHOOK_CONNECTIONS, "state" => "idle").set(idle as f64);
    }

    /// The right to open one more. Where all are open, the one that is idle the longest makes room.
    pub(super) async fn place(&self) -> Place {
        let mut permit = self.permits.clone().try_acquire_owned().ok();
        if permit.is_none() {
            let _waiting = Waiting::begin(&self.waiting);
            // After the count: a connection that becomes idle from now on is closed.
            drop(self.idle().take_oldest());
            // The semaphore is never closed.
            permit = self.permits.clone().acquire_owned().await.ok();
        }
        let place = Place { permit, connections: self.clone() };
        self.tell();
        place
    }

    /// An idle connection to the endpoint that its server has not closed.
    pub(super) fn take(&self, endpoint: u64) -> Option<Connection> {
        let mut taken = None;
        let mut idle = self.idle();
        while let Some(connection) = idle.take(endpoint) {
            if !connection.sender.is_closed() {
                taken = Some(connection);
                break;
            }
        }
        drop(idle);
        self.tell();
        taken
    }

    pub(super) fn give_back(&self, endpoint: u64, connection: Connection) {
        let mut idle = self.idle();
        if connection.sender.is_closed() || self.waiting.load(Ordering::SeqCst) > 0 {
            return;
        }
        idle.connections.entry(endpoint).or_default().push((Instant::now(), connection));
        idle.count += 1;
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(self.idle.clone()));
        }
        drop(idle);
        self.tell();
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.max - self.permits.available_permits(), self.idle().count)
    }
}

/// Counts a request that waits, also where it is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Idle {
    fn take(&mut self, endpoint: u64) -> Option<Connection> {
        let of_endpoint = self.connections.get_mut(&endpoint)?;
        let taken = of_endpoint.pop();
        if of_endpoint.is_empty() {
            self.connections.remove(&endpoint);
        }
        let (_, connection) = taken?;
        self.count -= 1;
        Some(connection)
    }

    fn take_oldest(&mut self) -> Option<Connection> {
        let first =
            |(number, list): (&u64, &Vec<(Instant, Connection)>)| Some((list.first()?.0, *number));
        let (_, number) = self.connections.iter().filter_map(first).min()?;
        let of_endpoint = self.connections.get_mut(&number)?;
        let (_, connection) = of_endpoint.remove(0);
        if of_endpoint.is_empty() {
            self.connections.remove(&number);
        }
        self.count -= 1;
        Some(connection)
    }

    fn drop_expired(&mut self) {
        let now = Instant::now();
        self.connections.retain(|_, list| {
            list.retain(|(since, connection)| {
                now - *since < IDLE_MAX && !connection.sender.is_closed()
            });
            !list.is_empty()
        });
        self.count = self.connections.values().map(Vec::len).sum();
    }
}

/// Closes what has been idle for too long, and ends when nothing is idle.
async fn sweep(idle: Arc<Mutex<Idle>>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.drop_expired();
        if idle.count == 0 {
            idle.swept = false;
            return;
        }
    }
}

/// Dials and shakes hands. The place is held as long as the connection is open.
pub(super) async fn dial(
    dialer: &SocketDialer,
    to: &Remote,
    certificate: Option<&ClientCertificate>,
    place: Place,
) -> Result<Connection, Error> {
    let offtake_http::Connection { sender, peer } =
        offtake_http::connect(dialer, to, certificate, place).await?;
    // Only a trusted dialer has peers without an address.
    let address = peer.address().unwrap_or(IpAddr::from([0, 0, 0, 0]));
    Ok(Connection { sender, address })
}

//! Sending one request: HTTP/1.1 over the checked dials of `egress`, and a bounded look at the
//! answer.
//!
//! A receiver is a stranger. What it may make the daemon do is bounded: the time of the whole
//! exchange, the bytes of the head, the number of headers, the bytes of the body. Redirects are not
//! followed, cookies not kept, bodies not decompressed, and no proxy is asked for. A connection
//! belongs to one [`Endpoint`] and is never shared with another, whatever its host.

mod connections;
mod exchange;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use offtake_egress::{
    AddressPolicy, ClientCertificate, Error as DialError, Remote, SocketDialer, TlsHandshake,
};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::answer::{Reply, Unanswered};
use crate::{Headers, Secrets, SourceClock, Url};
use connections::{Connection, Connections};

/// So many requests at once go to endpoints that were silent the last time.
pub const SILENT_REQUESTS_MAX: usize = 64;

/// The longest time of one request: what a webhook's `timeout` may be.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Where a webhook's requests go, and how they are signed.
#[derive(Debug)]
pub struct Endpoint {
    /// Of this value, not of the webhook: a changed endpoint has connections of its own.
    number: u64,
    url: Url,
    headers: Headers,
    secrets: Secrets,
    timeout: Duration,
    remote: Remote,
    certificate: Option<ClientCertificate>,
}

impl Endpoint {
    pub fn new(
        url: Url,
        headers: Headers,
        secrets: Secrets,
        timeout: Duration,
        ca_file: Option<PathBuf>,
        certificate: Option<ClientCertificate>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let remote = url.remote(ca_file.as_deref());
        Self { number, url, headers, secrets, timeout, remote, certificate }
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The request as it would be sent, for people: the first line, then the headers. Path, query,
    /// the values of its own headers and the signatures are not shown.
    pub fn preview(&self, message: &Message<'_>, seconds: u64) -> String {
        let mut text = String::from("POST /… HTTP/1.1\n");
        for (name, value) in exchange::head_of(self, message, seconds) {
            let value = match value.is_sensitive() {
                true => "…",
                false => value.to_str().unwrap_or_default(),
            };
            text.push_str(&format!("{name}: {value}\n"));
        }
        text + &format!("webhook-signature: {}\n", crate::signature::masked(&self.secrets))
    }

    /// A hash of everything that makes it this endpoint: another one means that somebody mended it.
    pub fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        part(self.url.shown().as_bytes());
        part(self.url.path().as_bytes());
        for file in [
            self.remote.ca_file.as_ref(),
            self.certificate.as_ref().map(|certificate| &certificate.certificate_file),
            self.certificate.as_ref().map(|certificate| &certificate.key_file),
        ] {
            part(file.map_or(&[], |path| path.as_os_str().as_encoded_bytes()));
        }
        self.secrets.hash_into(&mut hasher);
        self.headers.hash_into(&mut hasher);
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One request to send.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// Exactly these bytes are signed and sent.
    pub body: Bytes,
    /// `offtake-attempt`.
    pub attempt: i64,
}

/// A request that was sent, or could not be.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub reply: Reply,
    /// From the dial, or the request on a connection that was open, to the head of the answer.
    pub elapsed: Duration,
    /// Where it was sent; None where nothing was dialled.
    pub address: Option<IpAddr>,
}

/// The lease ends before the request could: nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease ends before the request would")]
pub struct LeaseTooShort;

/// Sends requests. Clones share the connections and their limits.
#[derive(Clone)]
pub struct Client {
    dialer: SocketDialer,
    connections: Connections,
    silent: Arc<Semaphore>,
}

impl Client {
    /// `connections` may be open at once, idle ones included.
    pub fn new(policy: AddressPolicy, connections: usize) -> Self {
        Self {
            dialer: SocketDialer::new(policy, TIMEOUT_MAX),
            connections: Connections::new(connections),
            silent: Arc::new(Semaphore::new(SILENT_REQUESTS_MAX)),
        }
    }

    /// Sends one request. It waits for a free connection without a limit; what is timed is the dial
    /// and the exchange together.
    ///
    /// `may_send` is asked right before the bytes leave, with the time that the request may take:
    /// whether the lease lasts so long. `silent` says that the endpoint was silent the last time:
    /// it then takes one of few places.
    pub async fn send(
        &self,
        to: &Endpoint,
        message: &Message<'_>,
        silent: bool,
        clock: &SourceClock,
        may_send: &(dyn Fn(Duration) -> bool + Sync),
    ) -> Result<Exchange, LeaseTooShort> {
        let _place = match silent {
            // The semaphore is never closed.
            true => self.silent.acquire().await.ok(),
            false => None,
        };
        let mut idle = self.connections.take(to.number);
        loop {
            let reused = idle.is_some();
            let began = Instant::now();
            let (mut connection, left) = match idle.take() {
                Some(connection) => (connection, to.timeout),
                None => match Box::pin(self.dial(to)).await {
                    Ok(connected) => connected,
                    Err(unanswered) => {
                        let reply = Reply::Unanswered(unanswered);
                        return Ok(Exchange { reply, elapsed: began.elapsed(), address: None });
                    }
                },
            };
            if !may_send(left) {
                self.connections.give_back(to.number, connection);
                return Err(LeaseTooShort);
            }
            let address = Some(connection.address);
            match Box::pin(exchange::run(&mut connection, to, message, clock, left)).await {
                // The receiver closed a connection that was idle, as it may.
                Err(exchange::Failed { before_answer: true, .. }) if reused => continue,
                Err(failed) => {
                    let reply = Reply::Unanswered(failed.unanswered);
                    return Ok(Exchange { reply, elapsed: began.elapsed(), address });
                }
                Ok(done) => {
                    if done.reusable {
                        self.connections.give_back(to.number, connection);
                    }
                    let elapsed = done.answered_at - began;
                    return Ok(Exchange { reply: Reply::Answered(done.answer), elapsed, address });
                }
            }
        }
    }

    /// A new connection, and how much of the time is left for the exchange. Waiting for a free
    /// connection and for the turn to dial does not count.
    async fn dial(&self, to: &Endpoint) -> Result<(Connection, Duration), Unanswered> {
        let place = self.connections.place().await;
        let dialer = self.dialer.with_connect_timeout(to.timeout);
        let began = Instant::now();
        let dialled = connections::dial(&dialer, &to.remote, to.certificate.as_ref(), place);
        let connection = dialled.await.map_err(|error| unanswered(error, to.url.is_https()))?;
        // Where the dial waited for its turn the time is unknown: half of it is left at least.
        let left = to.timeout.saturating_sub(began.elapsed()).max(to.timeout / 2);
        Ok((connection, left))
    }

    /// The addresses of the endpoint's host, all of them checked. Nothing is dialled.
    pub async fn look_up(&self, to: &Endpoint) -> Result<Vec<IpAddr>, Unanswered> {
        let addresses = self.dialer.with_connect_timeout(to.timeout).look_up(&to.remote).await;
        addresses.map_err(|error| unanswered(error, to.url.is_https()))
    }

    /// Looks at what can be known without sending anything: addresses, authorities, certificate.
    pub async fn check(&self, to: &Endpoint) -> Result<(), Unanswered> {
        self.look_up(to).await?;
        if !to.url.is_https() {
            return Ok(());
        }
        let prepared = async {
            let tls = TlsHandshake::prepare(&to.remote).await?;
            match &to.certificate {
                Some(certificate) => tls.present(certificate).await.map(drop),
                None => Ok(()),
            }
        };
        prepared.await.map_err(|error| unanswered(error, true))
    }

    /// How many connections are open, and how many of them are idle.
    pub fn connections(&self) -> (usize, usize) {
        self.connections.counts()
    }
}

fn unanswered(error: DialError, https: bool) -> Unanswered {
    let text = offtake_postgres::chain(&error);
    match error {
        DialError::Filtered { .. } | DialError::LocalSocket { .. } => Unanswered::Address(text),
        // The only thing that plain text can fail for: an address that is not listed.
        DialError::Tls { .. } if !https => Unanswered::Address(text),
        DialError::Unresolved { .. } => Unanswered::Dns(text),
        DialError::Unreachable { .. } => Unanswered::Connect(text),
        DialError::TimedOut { .. } => Unanswered::TimedOut(text),
        DialError::Tls { .. } => Unanswered::Tls(text),
        DialError::NoTurn { .. } => Unanswered::NoTurn(text),
    }
}

//! Making a connection: a guarded socket, TLS where the URL asks for it, and the login, all within
//! the connect timeout.
//!
//! The crate `offtake-egress` decides which addresses may be dialled, and how many at a time.

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use offtake_egress::{AddressPolicy, Peer, Socket, SocketDialer, TlsMode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{Client, NoTls, config};
use tokio_util::task::AbortOnDropHandle;

use crate::ssl_request::secure;
use crate::wire_guard::{AnswerTimeout, Established, Guarded, Trust, Violation};
use crate::{ConnectionString, Error};

/// How long a request to cancel a statement may take: it is a courtesy to the server, not something
/// to wait for.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(5);

/// Nothing is expected from a server after a request to cancel.
const NOTHING_MORE: Trust = Trust { passwords: false, volume: false };

/// Makes connections. Clones share the limits on concurrent dials.
#[derive(Clone)]
pub struct Dialer {
    sockets: SocketDialer,
    answer_timeout: Option<AnswerTimeout>,
}

impl Dialer {
    /// For destinations: only where the policy allows, in plain text only where it lists.
    pub fn new(policy: AddressPolicy, connect_timeout: Duration) -> Self {
        Self { sockets: SocketDialer::new(policy, connect_timeout), answer_timeout: None }
    }

    /// For the source: wherever the operator's URL says.
    pub fn trusted(connect_timeout: Duration) -> Self {
        Self { sockets: SocketDialer::trusted(connect_timeout), answer_timeout: None }
    }

    /// Connections end when the server owes an answer and sends nothing for so long: a hung
    /// middlebox acknowledges every packet, so that TCP never finds anything wrong. Idle
    /// connections stay. The timeout must be longer than any statement may take, because the server
    /// itself ends a long statement with a proper error.
    #[must_use]
    pub(crate) fn answering_within(self, timeout: AnswerTimeout) -> Self {
        Self { answer_timeout: Some(timeout), ..self }
    }

    /// A connection that is logged in, within the connect timeout.
    pub async fn dial(
        &self,
        to: &ConnectionString,
        application_name: &str,
    ) -> Result<Connection, Error> {
        let remote = to.remote();
        // The operator's own server on this machine is reached without a network, so that no other
        // machine can listen.
        let trusts = |peer: &Peer| self.sockets.is_trusted() && peer.is_on_this_machine();
        let log_in = async |socket: Socket, peer: Peer| {
            let trust = Trust {
                passwords: trusts(&peer) || remote.proves_identity(),
                volume: self.sockets.is_trusted(),
            };
            let process = Arc::new(AtomicI32::new(0));
            let cut = Arc::new(OnceLock::new());
            let mut config = to.login(application_name);
            let mut certificate_expires_at = None;
            let (client, driver) = if uses_tls(to, &peer) {
                let secured = secure(to, socket).await?;
                certificate_expires_at = secured.certificate_expires_at;
                let socket = secured.socket;
                // tokio-postgres must take TLS as given and not ask the server for it again.
                config
                    .ssl_mode(config::SslMode::Require)
                    .ssl_negotiation(config::SslNegotiation::Direct);
                log_in(to, self.guard(socket, trust, &process, &cut), Established, &config, &cut)
                    .await?
            } else {
                config.ssl_mode(config::SslMode::Disable);
                log_in(to, self.guard(socket, trust, &process, &cut), NoTls, &config, &cut).await?
            };
            let to = to.clone();
            Ok(Connection { client, driver, to, peer, process, cut, certificate_expires_at })
        };
        self.sockets.dial(&remote, log_in).await
    }

    fn guard<S>(
        &self,
        socket: S,
        trust: Trust,
        process: &Arc<AtomicI32>,
        cut: &Arc<OnceLock<Violation>>,
    ) -> Guarded<S> {
        Guarded::new(socket, trust)
            .telling(cut.clone())
            .answering_within(self.answer_timeout.clone())
            .noting(process.clone())
    }
}

/// Postgres has no TLS on a Unix socket, whatever the URL asks for.
fn uses_tls(to: &ConnectionString, peer: &Peer) -> bool {
    !peer.is_unix_socket() && to.ssl_mode() != TlsMode::Disable
}

async fn log_in<S, T>(
    to: &ConnectionString,
    stream: S,
    tls: T,
    config: &tokio_postgres::Config,
    cut: &Arc<OnceLock<Violation>>,
) -> Result<(Client, AbortOnDropHandle<()>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S>,
    T::Stream: Send + 'static,
{
    let host = || to.host().to_owned();
    let login = config.connect_raw(stream, tls).await;
    let (client, mut connection) = login.map_err(|source| match violation(&source) {
        Some(Violation::Password(how)) => Error::PasswordWithheld { host: host(), how },
        _ => Error::Login { host: host(), source },
    })?;
    let (name, cut) = (host(), cut.clone());
    let driver = tokio::spawn(async move {
        // Notices are dropped unread: what a stranger's server has to say does not belong into our
        // logs. An error ends the connection, and every statement on it reports it.
        let ended = loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => return,
            }
        };
        // Before the statements that wait here are told that the connection is closed.
        if breaks_protocol(&ended) {
            let _ = cut.set(Violation::Unasked);
        }
        // The statement that waits here only learns that the connection is closed.
        if let Some(silence @ Violation::AnswerTimeout(_)) = violation(&ended) {
            tracing::warn!(
                event = "server_silent",
                host = name,
                "the connection is given up: {silence}"
            );
        }
    });
    Ok((client, AbortOnDropHandle::new(driver)))
}

/// Whether tokio-postgres gave the connection up because of what the server sent.
fn breaks_protocol(error: &tokio_postgres::Error) -> bool {
    let unreadable = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        matches!(kind, Some(ErrorKind::InvalidData | ErrorKind::InvalidInput))
    };
    let cause = std::error::Error::source(error);
    !error.is_closed() && error.as_db_error().is_none() && cause.is_none_or(unreadable)
}

fn violation(error: &tokio_postgres::Error) -> Option<&Violation> {
    std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

/// One session on one server; closed when dropped. Dereferences to [`tokio_postgres::Client`].
pub struct Connection {
    client: Client,
    /// The task that reads and writes the socket.
    driver: AbortOnDropHandle<()>,
    to: ConnectionString,
    /// The server that was dialled, so that a request to cancel goes to the very same one.
    peer: Peer,
    process: Arc<AtomicI32>,
    cut: Arc<OnceLock<Violation>>,
    certificate_expires_at: Option<SystemTime>,
}

impl Connection {
    /// When the certificate expires that the server showed; None: it showed none, or none that can
    /// be read.
    pub fn certificate_expires_at(&self) -> Option<SystemTime> {
        self.certificate_expires_at
    }

    /// Why we ended the connection, if we did: the statements on it only say that it is closed.
    pub fn cut(&self) -> Option<Error> {
        let why = self.cut.get()?.to_string();
        Some(Error::Cut { host: self.to.host().to_owned(), why })
    }

    /// The number of the server process that a request to cancel would name. A pooler invents a
    /// number, which then differs from `pg_backend_pid()`. In that case, what a session creates in
    /// the server's process stays there, and the pooler may give the process to another client.
    pub fn server_process(&self) -> i32 {
        self.process.load(Ordering::Relaxed)
    }

    /// Asks the server to stop the running statement, within five seconds. Whether it did, the
    /// statement's own result tells.
    pub async fn cancel(&self) {
        Box::pin(self.canceller()).await;
    }

    /// The same, for after the connection was dropped: a server that waits for a lock does not
    /// notice that we are gone.
    pub fn canceller(&self) -> impl Future<Output = ()> + Send + 'static {
        let (token, peer, to) = (self.client.cancel_token(), self.peer.clone(), self.to.clone());
        let request = async move {
            let socket = peer.open().await.ok()?;
            if uses_tls(&to, &peer) {
                let socket = secure(&to, socket).await.ok()?.socket;
                token.cancel_query_raw(Guarded::new(socket, NOTHING_MORE), Established).await.ok()
            } else {
                token.cancel_query_raw(socket, NoTls).await.ok()
            }
        };
        async move { drop(tokio::time::timeout(CANCEL_TIME_MAX, request).await) }
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The client and its task, for a pool that ends the task itself.
    pub(crate) fn into_parts(self) -> (Client, JoinHandle<()>) {
        (self.client, self.driver.detach())
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

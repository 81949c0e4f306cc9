//! Making a connection: resolve once, check every answer, dial only what was checked, and be done
//! within the deadline.

#[cfg(test)]
mod tests;
mod turns;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{Client, NoTls, config};
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;

use self::turns::Turns;
use crate::connection_string::Endpoint;
use crate::wire_guard::{AnswerTimeout, Established, Guarded, Trust, Violation};
use crate::{AddressPolicy, ConnectionString, Error, SslMode, tls};

/// How long a dial waits for its turn; dials ahead of it end by their own deadlines.
const WAIT_FOR_TURN_MAX: Duration = Duration::from_secs(30);

/// How long a request to cancel a statement may take: it is a courtesy to the server, not something
/// to wait for.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(5);

/// A peer that is gone without a word is noticed after 30 + 3 x 10 seconds on an idle connection…
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// …and after this long while something we sent is unacknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Addresses of one name that are tried, each with its share of the time that is left.
const ADDRESSES_MAX: usize = 8;

/// Nothing is expected from a server after a request to cancel.
const NOTHING_MORE: Trust = Trust { passwords: false, volume: false };

pub(crate) type Socket = Either<TcpStream, UnixStream>;

/// Makes connections. Clones share the limits on concurrent dials.
#[derive(Clone)]
pub struct Dialer {
    /// None: the server is the operator's own.
    policy: Option<AddressPolicy>,
    connect_timeout: Duration,
    answer_timeout: Option<AnswerTimeout>,
    turns: Arc<Turns>,
}

impl Dialer {
    /// For destinations: only where the policy allows, in plain text only where it lists.
    pub fn new(policy: AddressPolicy, connect_timeout: Duration) -> Self {
        Self {
            policy: Some(policy),
            connect_timeout,
            answer_timeout: None,
            turns: Arc::new(Turns::limited_by_address()),
        }
    }

    /// For the source: wherever the operator's URL says.
    pub fn trusted(connect_timeout: Duration) -> Self {
        Self {
            policy: None,
            connect_timeout,
            answer_timeout: None,
            turns: Arc::new(Turns::limited_in_all()),
        }
    }

    /// Connections end when the server owes an answer and sends nothing for so long: a hung
    /// middlebox acknowledges every packet, so that TCP never finds anything wrong. Idle connections
    /// stay. The timeout must be longer than any statement may take, because the server itself ends
    /// a long statement with a proper error.
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
        let began = Instant::now();
        let addresses = self.in_time(began + self.connect_timeout, to, self.resolve(to)).await?;
        let left = self.connect_timeout.saturating_sub(began.elapsed());
        let turn = tokio::time::timeout(WAIT_FOR_TURN_MAX, self.turns.take(&addresses)).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Error::Exhausted { what: "turn to connect", waited: WAIT_FOR_TURN_MAX });
        };
        let deadline = Instant::now() + left;
        let (socket, target) = self.open_socket(to, &addresses, deadline).await?;
        let trust = Trust {
            passwords: self.trusts_peer(&target) || tls::proves_identity(to),
            volume: self.policy.is_none(),
        };
        let mut config = to.login(application_name);
        let process = Arc::new(AtomicI32::new(0));
        let login = async {
            let (client, driver) = if target.secured(to) {
                let socket = tls::secure(to, socket).await?;
                // tokio-postgres is to believe that TLS is there without asking the server for it
                // once more.
                config
                    .ssl_mode(config::SslMode::Require)
                    .ssl_negotiation(config::SslNegotiation::Direct);
                log_in(to, self.guard(socket, trust, &process), Established, &config).await?
            } else {
                config.ssl_mode(config::SslMode::Disable);
                log_in(to, self.guard(socket, trust, &process), NoTls, &config).await?
            };
            Ok(Connection { client, driver, to: to.clone(), target, process })
        };
        // On the heap: a handshake is large, and would make every future that may dial as large.
        self.in_time(deadline, to, Box::pin(login)).await
    }

    fn guard<S>(&self, socket: S, trust: Trust, process: &Arc<AtomicI32>) -> Guarded<S> {
        Guarded::new(socket, trust)
            .answering_within(self.answer_timeout.clone())
            .noting(process.clone())
    }

    /// Nobody listens on the way to the operator's own server on this machine.
    fn trusts_peer(&self, target: &Target) -> bool {
        let here = match target {
            Target::Socket(_) => true,
            Target::Tcp(address) => address.ip().is_loopback(),
        };
        here && self.policy.is_none()
    }

    async fn in_time<T>(
        &self,
        deadline: Instant,
        to: &ConnectionString,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let late = |_| Error::TimedOut {
            what: format!("connecting to {}:{}", to.host(), to.port()),
            limit: self.connect_timeout,
        };
        timeout_at(deadline, step).await.map_err(late)?
    }

    async fn open_socket(
        &self,
        to: &ConnectionString,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<(Socket, Target), Error> {
        let refused =
            |source| Error::Refused { host: to.host().to_owned(), port: to.port(), source };
        match to.endpoint() {
            Endpoint::Socket(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", to.port()));
                let target = Target::Socket(path);
                let socket = self
                    .in_time(deadline, to, async { target.open().await.map_err(refused) })
                    .await?;
                Ok((socket, target))
            }
            Endpoint::Tcp(_) => {
                let mut failure = None;
                for (tried, address) in addresses.iter().enumerate() {
                    let target = Target::Tcp(*address);
                    let left = deadline.saturating_duration_since(Instant::now());
                    let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
                    match self
                        .in_time(Instant::now() + share, to, async {
                            target.open().await.map_err(refused)
                        })
                        .await
                    {
                        Ok(socket) => return Ok((socket, target)),
                        Err(error) => failure = Some(error),
                    }
                }
                Err(failure.unwrap_or_else(|| refused(std::io::Error::other("no address"))))
            }
        }
    }

    /// Every address of the name, all of them checked: one bad answer among good ones is an attack
    /// or a mistake. A Unix socket has none.
    async fn resolve(&self, to: &ConnectionString) -> Result<Vec<SocketAddr>, Error> {
        let Endpoint::Tcp(host) = to.endpoint() else { return Ok(Vec::new()) };
        let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, to.port())],
            Err(_) => {
                let answers = tokio::net::lookup_host((host.as_str(), to.port())).await;
                answers
                    .map_err(|source| Error::Unresolved { host: host.to_owned(), source })?
                    .collect()
            }
        };
        if let Some(policy) = &self.policy {
            for address in &addresses {
                policy
                    .check(address.ip())
                    .map_err(|source| Error::Filtered { host: host.to_owned(), source })?;
                if to.ssl_mode() == SslMode::Disable && !policy.lists(address.ip()) {
                    let why = "sslmode=disable is only allowed towards a network of security.allow_destinations".to_owned();
                    return Err(Error::Tls { host: host.to_owned(), why });
                }
            }
        }
        Ok(addresses.into_iter().take(ADDRESSES_MAX).collect())
    }
}

/// What was dialled, so that a cancel request goes to the very same server.
#[derive(Debug, Clone)]
enum Target {
    Tcp(SocketAddr),
    Socket(PathBuf),
}

impl Target {
    /// Postgres has no TLS on a Unix socket, whatever the URL asks for.
    fn secured(&self, to: &ConnectionString) -> bool {
        matches!(self, Self::Tcp(_)) && to.ssl_mode() != SslMode::Disable
    }

    async fn open(&self) -> std::io::Result<Socket> {
        match self {
            Self::Socket(path) => UnixStream::connect(path).await.map(Either::Right),
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let keepalive = TcpKeepalive::new()
                    .with_time(KEEPALIVE_IDLE)
                    .with_interval(KEEPALIVE_INTERVAL)
                    .with_retries(KEEPALIVE_RETRIES);
                let socket = SockRef::from(&stream);
                socket.set_tcp_keepalive(&keepalive)?;
                #[cfg(target_os = "linux")]
                socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
                Ok(Either::Left(stream))
            }
        }
    }
}

async fn log_in<S, T>(
    to: &ConnectionString,
    stream: S,
    tls: T,
    config: &tokio_postgres::Config,
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
    let name = host();
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

fn violation(error: &tokio_postgres::Error) -> Option<&Violation> {
    std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

/// One session on one server; closed when dropped. Dereferences to [`tokio_postgres::Client`].
pub struct Connection {
    client: Client,
    /// The task that reads and writes the socket.
    driver: AbortOnDropHandle<()>,
    to: ConnectionString,
    target: Target,
    process: Arc<AtomicI32>,
}

impl Connection {
    /// The number of the server process that a request to cancel would name. A pooler names one of
    /// its own making, so that `pg_backend_pid()` is another: what is made in that process stays
    /// there, for whoever is given it next.
    pub fn server_process(&self) -> i32 {
        self.process.load(Ordering::Relaxed)
    }

    /// Asks the server to stop the running statement, within five seconds. Whether it did, the
    /// statement's own result tells.
    pub async fn cancel(&self) {
        self.canceller().await;
    }

    /// The same, for after the connection was dropped: a server that waits for a lock does not
    /// notice that we are gone.
    pub fn canceller(&self) -> impl Future<Output = ()> + Send + 'static {
        let (token, target, to) =
            (self.client.cancel_token(), self.target.clone(), self.to.clone());
        let request = async move {
            let socket = target.open().await.ok()?;
            if target.secured(&to) {
                let socket = tls::secure(&to, socket).await.ok()?;
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

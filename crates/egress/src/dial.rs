//! Making a connection: resolve once, check every answer, dial only what was checked, and finish
//! within the timeout.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_util::either::Either;

use crate::turns::Turns;
use crate::{AddressPolicy, Error, Remote, TlsMode};

/// How long a dial waits for its turn; dials ahead of it end by their own timeouts.
const WAIT_FOR_TURN_MAX: Duration = Duration::from_secs(30);

/// A peer that vanished without a message is noticed after 30 + 3 x 10 seconds on an idle
/// connection…
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// …and after this long while something we sent is unacknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// At most this many addresses of one name are tried. Each has its share of the time that is left.
const ADDRESSES_MAX: usize = 8;

/// A connected socket, without TLS.
pub type Socket = Either<TcpStream, UnixStream>;

/// Opens sockets. Clones share the limits on concurrent dials.
#[derive(Clone)]
pub struct SocketDialer {
    /// None: the servers are the operator's own.
    policy: Option<AddressPolicy>,
    connect_timeout: Duration,
    turns: Arc<Turns>,
}

impl SocketDialer {
    /// For servers that tenants name: only addresses that the policy allows, in plain text only
    /// those that it lists.
    pub fn new(policy: AddressPolicy, connect_timeout: Duration) -> Self {
        let turns = Arc::new(Turns::limited_by_address());
        Self { policy: Some(policy), connect_timeout, turns }
    }

    /// For the operator's own servers: any address, and Unix sockets.
    pub fn trusted(connect_timeout: Duration) -> Self {
        Self { policy: None, connect_timeout, turns: Arc::new(Turns::limited_in_all()) }
    }

    /// The same dialer, with the same turns, for a connection with another timeout.
    pub fn with_connect_timeout(&self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self.clone() }
    }

    /// The addresses of a server, all of them checked as for a dial. Nothing is dialled.
    pub async fn look_up(&self, to: &Remote) -> Result<Vec<IpAddr>, Error> {
        let deadline = Instant::now() + self.connect_timeout;
        let addresses = self.in_time(deadline, to, self.resolve(to)).await?;
        Ok(addresses.iter().map(SocketAddr::ip).collect())
    }

    /// Whether the servers are the operator's own.
    pub fn is_trusted(&self) -> bool {
        self.policy.is_none()
    }

    /// Connects and runs the protocol's handshake on the socket. Both together may take the connect
    /// timeout; waiting for the turn does not count. The turn ends when the handshake has ended.
    pub async fn dial<T, E: From<Error>>(
        &self,
        to: &Remote,
        handshake: impl AsyncFnOnce(Socket, Peer) -> Result<T, E>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let addresses = self.in_time(began + self.connect_timeout, to, self.resolve(to)).await?;
        let left = self.connect_timeout.saturating_sub(began.elapsed());
        let turn = tokio::time::timeout(WAIT_FOR_TURN_MAX, self.turns.take(&addresses)).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Error::NoTurn { waited: WAIT_FOR_TURN_MAX }.into());
        };
        let deadline = Instant::now() + left;
        let (socket, peer) = self.open_socket(to, &addresses, deadline).await?;
        // On the heap: a handshake is large, and would make every future that may dial as large.
        self.in_time(deadline, to, Box::pin(handshake(socket, peer))).await
    }

    async fn in_time<T, E: From<Error>>(
        &self,
        deadline: Instant,
        to: &Remote,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        timeout_at(deadline, step).await.unwrap_or_else(|_| {
            let (host, port, limit) = (to.host.clone(), to.port, self.connect_timeout);
            Err(Error::TimedOut { host, port, limit }.into())
        })
    }

    async fn open_socket(
        &self,
        to: &Remote,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<(Socket, Peer), Error> {
        let unreachable =
            |source| Error::Unreachable { host: to.host.clone(), port: to.port, source };
        if let Some(path) = &to.socket {
            let peer = Peer(Address::Unix(path.clone()));
            let open = async { peer.open().await.map_err(unreachable) };
            return Ok((self.in_time(deadline, to, open).await?, peer));
        }
        let mut failure = None;
        for (tried, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
            let peer = Peer(Address::Tcp(*address));
            let open = async { peer.open().await.map_err(unreachable) };
            match self.in_time(Instant::now() + share, to, open).await {
                Ok(socket) => return Ok((socket, peer)),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| unreachable(std::io::Error::other("no address"))))
    }

    /// Every address of the name, all of them checked: one bad answer among good ones is an attack
    /// or a mistake. A Unix socket has none.
    async fn resolve(&self, to: &Remote) -> Result<Vec<SocketAddr>, Error> {
        if to.socket.is_some() {
            return match &self.policy {
                Some(_) => Err(Error::LocalSocket { host: to.host.clone() }),
                None => Ok(Vec::new()),
            };
        }
        let host = || to.host.clone();
        let addresses: Vec<SocketAddr> = match to.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, to.port)],
            Err(_) => {
                let answers = tokio::net::lookup_host((to.host.as_str(), to.port)).await;
                answers.map_err(|source| Error::Unresolved { host: host(), source })?.collect()
            }
        };
        if let Some(policy) = &self.policy {
            for address in &addresses {
                policy
                    .check(address.ip())
                    .map_err(|source| Error::Filtered { host: host(), source })?;
                if to.tls == TlsMode::Disable && !policy.lists(address.ip()) {
                    let setting = to.settings.disable;
                    let why = format!(
                        "{setting} is only allowed towards a network of security.allow_destinations"
                    );
                    return Err(Error::Tls { host: host(), why });
                }
            }
        }
        Ok(addresses.into_iter().take(ADDRESSES_MAX).collect())
    }
}

/// The server that was dialled, by its checked address. Only a [`SocketDialer`] makes one.
#[derive(Debug, Clone)]
pub struct Peer(Address);

#[derive(Debug, Clone)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Peer {
    /// Another socket to the very same server, without resolving, turn or timeout: for a request
    /// about the first connection, such as to cancel what runs there.
    pub async fn open(&self) -> std::io::Result<Socket> {
        match &self.0 {
            Address::Unix(path) => UnixStream::connect(path).await.map(Either::Right),
            Address::Tcp(address) => {
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

    /// None: a Unix socket.
    pub fn address(&self) -> Option<IpAddr> {
        match &self.0 {
            Address::Unix(_) => None,
            Address::Tcp(address) => Some(address.ip()),
        }
    }

    pub fn is_unix_socket(&self) -> bool {
        matches!(self.0, Address::Unix(_))
    }

    /// Reached without a network, so that no other machine can listen.
    pub fn is_on_this_machine(&self) -> bool {
        match &self.0 {
            Address::Unix(_) => true,
            Address::Tcp(address) => address.ip().is_loopback(),
        }
    }
}

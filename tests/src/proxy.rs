//! A proxy between a daemon and a server. It breaks connections as a network does, or as a server
//! does that fails at a bad moment.
//!
//! ```no_run
//! # async fn example(world: offtake_tests::World) {
//! use offtake_tests::proxy::{Cut, Mode};
//!
//! // Planned with `World::with_tenants(..).proxied("acme")`.
//! let proxy = world.tenant("acme").proxy();
//! proxy.set(Mode::Blackhole); // and Mode::Pass to mend it
//! // The server commits, and the daemon never hears of it.
//! let cut = proxy.arm(Cut::before_reply("COMMIT"));
//! cut.wait().await;
//! # }
//! ```
//!
//! It runs on its own thread, so that a blocking test does not stop it.

mod cut;
mod frames;
mod relay;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use cut::{Armed, Cut};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to bytes and to new connections. A change applies to open connections too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    Pass,
    /// Nothing listens on the port. Open connections are reset.
    Refuse,
    /// Everything sent is lost, in both directions; neither side learns that a connection was
    /// closed. A connection that is open in this mode, or is opened in it, never recovers: it is
    /// silent until the mode changes, and is then reset.
    Blackhole,
    /// Nothing is forwarded until the mode changes. Then everything goes on without loss, as after
    /// a route that was lost for a while.
    Stall,
    /// Each piece arrives this much later.
    Delay(Duration),
    /// Bytes per second, in each direction of each connection.
    Drip(u64),
    /// A connection is reset once it has carried this many bytes, both directions together.
    CutAfter(u64),
}

/// One proxy. When dropped, it stops and closes its connections.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    shared: Arc<Shared>,
}

/// What the proxy has seen so far.
#[derive(Default)]
struct Shared {
    cuts: Mutex<Vec<Armed>>,
    listening: AtomicBool,
    accepted: AtomicU64,
    open: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

impl Proxy {
    /// A proxy in front of the server of that Postgres URL.
    pub fn before(url: &str) -> Self {
        Self::before_at(url, Ipv4Addr::LOCALHOST)
    }

    /// The same at another address of this machine; every address that begins with 127 is one.
    pub fn before_at(url: &str, host: Ipv4Addr) -> Self {
        let (_, _, server) = split(url);
        let server = server.to_owned();
        let (mode, modes) = watch::channel(Mode::Pass);
        let shared = Arc::<Shared>::default();
        let (tell, told) = std::sync::mpsc::channel();
        let seen = shared.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                // This socket is bound and never listens: it reserves the port for us while nothing
                // listens.
                let reserved = bind((host, 0).into());
                let address = reserved.local_addr().expect("it is bound");
                tell.send(address).expect("the test waits for it");
                serve(address, server, modes, seen).await;
                drop(reserved);
            });
        });
        let proxy = Self { address: told.recv().expect("the proxy has an address"), mode, shared };
        proxy.wait_listening(true);
        proxy
    }

    /// The server's URL through this proxy.
    pub fn url(&self, url: &str) -> String {
        by_address(url, self.address)
    }

    /// Changes the mode from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        self.wait_listening(mode != Mode::Refuse);
    }

    /// Waits until the proxy listens, or does not. Its thread needs microseconds for that.
    fn wait_listening(&self, wanted: bool) {
        while self.shared.listening.load(Ordering::Acquire) != wanted {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Cuts a connection at a message of the protocol; see [`Cut`].
    pub fn arm(&self, cut: Cut) -> Armed {
        let armed = Armed::new(cut);
        self.shared.cuts.lock().expect("no panic while locked").push(armed.clone());
        armed
    }

    /// Disarms all cuts.
    pub fn disarm(&self) {
        self.shared.cuts.lock().expect("no panic while locked").clear();
    }

    /// Connections that were accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Bytes that went through to the server, and to the clients.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.shared.to_server.load(Ordering::Relaxed),
            self.shared.to_client.load(Ordering::Relaxed),
        )
    }
}

/// The URL with a port of this machine in place of its server.
pub(crate) fn by_port(url: &str, port: u16) -> String {
    by_address(url, (Ipv4Addr::LOCALHOST, port).into())
}

fn by_address(url: &str, address: SocketAddr) -> String {
    let (before, after, _) = split(url);
    format!("{before}{address}{after}")
}

/// The part of a URL before the server, the part after it, and the server (`host:port`).
pub(crate) fn split(url: &str) -> (&str, &str, &str) {
    let authority = url.find("://").expect("a URL has a scheme") + 3;
    let end = url[authority..].find(['/', '?']).map_or(url.len(), |at| authority + at);
    let server = url[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
    (&url[..server], &url[end..], &url[server..end])
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("Linux has SO_REUSEPORT");
    socket.bind(address).expect("the port is ours");
    socket
}

/// Serves until the proxy is dropped.
async fn serve(
    address: SocketAddr,
    server: String,
    mut modes: watch::Receiver<Mode>,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    let mut listener: Option<TcpListener> = None;
    loop {
        match *modes.borrow_and_update() {
            Mode::Refuse => listener = None,
            _ if listener.is_none() => {
                listener = Some(bind(address).listen(1024).expect("the port is ours"))
            }
            _ => {}
        }
        shared.listening.store(listener.is_some(), Ordering::Release);
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            accepted = accept => if let Ok((client, _)) = accepted {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(relay::connection(client, server.clone(), modes.clone(), shared.clone()));
            },
        }
    }
}

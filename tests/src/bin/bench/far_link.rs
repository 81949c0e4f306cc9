//! A link that is long, and not narrow: every byte arrives later by the same time, in both
//! directions, and many are under way at once. `Mode::Delay` of the proxy of the tests holds up
//! whatever follows, so that a pipeline of ten messages is late ten times.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// More is not read while so many pieces are under way, as a window of TCP would have it.
const UNDER_WAY_MAX: usize = 4_096;
const PIECE: usize = 16 * 1024;

/// A listener on the loopback, and what it forwards to. When dropped, it stops.
pub(crate) struct FarLink {
    delay: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl FarLink {
    /// A link without delay to the server of a Postgres URL.
    pub(crate) async fn to(url: &str) -> anyhow::Result<(Self, String)> {
        let (before, rest) = url.split_once("://").context("a URL has a scheme")?;
        let (authority, path) = rest.split_once('/').context("a URL has a path")?;
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (format!("{user}@"), server.to_owned()),
            None => (String::new(), authority.to_owned()),
        };
        ensure!(server.contains(':'), "the URL has no port");
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let delay = Arc::<AtomicU64>::default();
        let serving = tokio::spawn(serve(listener, server, delay.clone()));
        let through = format!("{before}://{user}{address}/{path}");
        Ok((Self { delay, serving }, through))
    }

    /// From now on every byte arrives so much later, in each direction.
    pub(crate) fn set(&self, delay: Duration) {
        self.delay.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Drop for FarLink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, server: String, delay: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, delay) = (server.clone(), delay.clone());
        tokio::spawn(async move {
            let Ok(there) = TcpStream::connect(&server).await else { return };
            // Otherwise a small piece would wait for the acknowledgement of the one before it.
            let _ = (client.set_nodelay(true), there.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = there.into_split();
            tokio::spawn(carry(from_client, to_server, delay.clone()));
            tokio::spawn(carry(from_server, to_client, delay));
        });
    }
}

/// Carries one direction until its end, which arrives late, too.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Arc<AtomicU64>) {
    let (send, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY_MAX);
    let reading = async move {
        loop {
            let mut piece = vec![0; PIECE];
            let read = from.read(&mut piece).await?;
            piece.truncate(read);
            let at = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
            if read == 0 || send.send((at, piece)).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((at, piece)) = arriving.recv().await {
            tokio::time::sleep_until(at.into()).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    // A connection that is reset ends.
    let _ = tokio::join!(reading, writing);
}

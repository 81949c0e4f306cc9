//! Accepts connections, with a bound on everything that a client can hold open.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::guard::Peer;

/// At most this many connections: far more than the people, probes and scrapers of one daemon need,
/// and few enough that their buffers stay below 4 MB.
const CONNECTIONS_MAX: usize = 128;
/// A browser's headers are below 4 KB; hyper accepts no bound below 8 KB.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// A client that has not sent its headers within this time is disconnected.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a stopping daemon waits for answers in progress. Every handler finishes sooner: reads
/// have a timeout below this, and comparisons and event streams end with the shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(12);
/// The pause after a failed accept. The usual cause is too many open files, which lasts a while;
/// without the pause the loop would spin.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

pub(super) async fn accept(listener: TcpListener, app: Router, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, stream) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        match stream {
            Ok((stream, from)) => {
                let connection = graceful.watch(connection(stream, Peer(from.ip()), app.clone()));
                tokio::spawn(async move {
                    let _permit = permit;
                    // An error here means that the client closed the connection or broke the
                    // protocol. There is nothing to do about either.
                    let _ = connection.await;
                });
            }
            Err(error) => {
                tracing::warn!(event = "http.accept_failed", %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.is_err() {
        tracing::info!(
            event = "http.drain_ended",
            "closing connections whose answers did not finish"
        );
    }
}

/// The router for one connection: it adds the client's address to every request.
struct WithPeer {
    app: TowerToHyperService<Router>,
    peer: Peer,
}

impl Service<Request<Incoming>> for WithPeer {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.app.call(request)
    }
}

fn connection(
    stream: TcpStream,
    peer: Peer,
    app: Router,
) -> http1::Connection<TokioIo<TcpStream>, WithPeer> {
    // An answer is a single write; waiting for more bytes would only delay it. Without the option
    // the connection still works.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(stream),
            WithPeer { app: TowerToHyperService::new(app), peer },
        )
}

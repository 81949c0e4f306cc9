//! Accepting connections, with a bound on everything a stranger may hold open.

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

/// Far more than the people, probes and scrapers of one daemon; few enough that their buffers stay
/// below 4 MB.
const CONNECTIONS_MAX: usize = 128;
/// A browser's headers are below 4 KB; hyper's least is 8 KB.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// A client that has not sent its headers by then is not going to.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Every answer is bounded to less than this by its own handler, but for a comparison, which is
/// cut; listeners are told the end.
const DRAIN_MAX: Duration = Duration::from_secs(12);
/// After a failed accept: the usual cause is too many open files, which does not pass in an
/// instant.
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
                    // Whatever ended it, the client knows; there is nobody else to tell.
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

/// The pages and the API, as one connection asks them.
struct Asked {
    app: TowerToHyperService<Router>,
    peer: Peer,
}

impl Service<Request<Incoming>> for Asked {
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
) -> http1::Connection<TokioIo<TcpStream>, Asked> {
    // Answers are single writes; waiting for more would only delay them. Best effort: the
    // connection works without.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), Asked { app: TowerToHyperService::new(app), peer })
}

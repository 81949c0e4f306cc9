//! Accepts connections, with a bound on everything that a client can hold open.
//!
//! A new connection is always served: a probe must be answered whatever other clients do. So a
//! connection on which nothing is being answered makes room for a new one, the longest idle first.
//! One on which a request is in progress stays; it ends by the time limits of the handlers.
//!
//! A request that cannot be read is answered with a problem object too, and ends its connection. A
//! connection on which nothing was asked ends without an answer.

mod refusal;
mod slots;
mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::slots::{Busy, Slot, Slots};
use self::wire::Wire;
use super::guard::Peer;

/// A browser's headers are below 4 KB; hyper accepts no bound below 8 KB.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// A client that has not sent its headers within this time is disconnected.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Afterwards the client is told to connect again. Twenty minutes of a dashboard's requests.
const REQUESTS_MAX: usize = 10_000;
/// A connection ends after this time, unless something is being answered on it.
const LIFE: Duration = Duration::from_secs(600);
/// A connection ends after this time even while something is being answered on it. Otherwise the
/// event stream of a client that does not read would stay open for ever. A dashboard connects
/// again. Of a file, it is the time in which its client takes nothing.
const LIFE_MAX: Duration = Duration::from_secs(3600);
/// Between two looks at a connection whose life is over.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How long a stopping daemon waits for answers in progress. Every handler finishes sooner: reads
/// have a timeout below this, and comparisons and event streams end with the shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(12);
/// The pause after a failed accept. The usual cause is too many open files, which lasts a while;
/// without the pause the loop would spin.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

pub(super) async fn accept(listener: TcpListener, app: Router, shutdown: CancellationToken) {
    let slots = Slots::default();
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                // Without a slot the stream is dropped: every connection is busy.
                let Some(slot) = slots.take(from.ip()) else { continue };
                let served = connection(stream, Peer(from.ip()), app.clone(), slot.busy());
                open.spawn(serve(served, slot, shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(event = "http.accept_failed", %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(DRAIN_MAX, open.wait()).await.is_err() {
        tracing::info!(
            event = "http.drain_ended",
            "closing connections whose answers did not finish"
        );
    }
}

type Connection = http1::Connection<TokioIo<Wire>, WithPeer>;

/// Serves a connection until the client closes it, its life is over, it makes room, or the daemon
/// stops and nothing is being answered on it.
async fn serve(mut connection: Connection, slot: Slot, shutdown: CancellationToken) {
    let mut look_at = Instant::now() + LIFE;
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            () = slot.evicted() => return,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = sleep_until(look_at) => {
                if slot.idle() || slot.still() >= LIFE_MAX {
                    return;
                }
                look_at = Instant::now() + LOOK_AGAIN_AFTER;
            }
        }
    };
    if stopping {
        return;
    }
    let parts = connection.into_parts();
    let (withheld, stream) = parts.io.into_inner().into_parts();
    let problem = match ended {
        Ok(()) => None,
        Err(error) => refusal::problem(&error, withheld, &parts.read_buf),
    };
    tokio::select! {
        () = refusal::end(stream, problem) => {}
        () = slot.evicted() => {}
    }
}

/// The connection of a request, for answers that take long.
#[derive(Clone)]
pub(super) struct Connected(Arc<Busy>);

impl Connected {
    /// The client has taken something.
    pub(super) fn moved(&self) {
        self.0.moved();
    }

    /// Ends the connection, whatever is being answered on it.
    pub(super) fn end(&self) {
        self.0.end();
    }

    /// One without a client, and whether it was ended.
    #[cfg(test)]
    pub(super) fn alone() -> (Self, impl Fn() -> bool) {
        let slot = Slots::default().take(std::net::Ipv4Addr::LOCALHOST.into()).unwrap();
        let ended = slot.busy();
        (Self(slot.busy()), move || ended.ended())
    }
}

/// The router for one connection: it adds the client's address to every request, and keeps count of
/// what is being answered.
struct WithPeer {
    app: TowerToHyperService<Router>,
    peer: Peer,
    busy: Arc<Busy>,
}

impl Service<Request<Incoming>> for WithPeer {
    type Response = Response<Body>;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(Connected(self.busy.clone()));
        let answering = self.busy.answering();
        let last = self.busy.requests() >= REQUESTS_MAX;
        let answer = self.app.call(request);
        Box::pin(async move {
            let mut answer =
                answer.await?.map(|body| Body::new(Answering { body, _held: answering }));
            if last {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        })
    }
}

/// The body of an answer. The connection is busy until all of it was taken.
struct Answering<B> {
    body: B,
    _held: slots::Held,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Answering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn connection(stream: TcpStream, peer: Peer, app: Router, busy: Arc<Busy>) -> Connection {
    // An answer is a single write; waiting for more bytes would only delay it. Without the option
    // the connection still works.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(Wire::new(stream, busy.clone())),
            WithPeer { app: TowerToHyperService::new(app), peer, busy },
        )
}

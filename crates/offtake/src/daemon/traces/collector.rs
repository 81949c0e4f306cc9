//! The requests to the collector: HTTP/1.1, dialled and verified by `egress` like everything else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use offtake_egress::{Peer, Remote, Socket, SocketDialer, TlsHandshake, TlsMode};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;

use crate::configuration::CollectorUrl;

/// A request and its answer. While it lasts, the next spans wait in the queue.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A collector answers with a few bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends each request on a connection of its own: there is one in two seconds.
#[derive(Clone)]
pub(super) struct Collector {
    remote: Remote,
    authority: HeaderValue,
    dialer: SocketDialer,
    /// The exporter calls from a thread without a runtime.
    runtime: Handle,
}

/// Whether the last request failed: an outage is told once, and so is its end.
static AWAY: AtomicBool = AtomicBool::new(false);

impl Collector {
    pub(super) fn new(to: &CollectorUrl, runtime: Handle) -> Self {
        let dialer = SocketDialer::trusted(ANSWERS_WITHIN);
        Self { remote: to.remote(), authority: to.authority(), dialer, runtime }
    }

    async fn exchange(self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let path: Uri = request.uri().path().parse()?;
        *request.uri_mut() = path;
        request.headers_mut().insert(HOST, self.authority.clone());
        let request = request.map(Full::new);
        let exchange = async |socket: Socket, _: Peer| -> Result<Response<Bytes>, Sending> {
            if self.remote.tls == TlsMode::Disable {
                return send(socket, request).await;
            }
            let tls = TlsHandshake::prepare(&self.remote).await?;
            send(tls.connect(socket).await?, request).await
        };
        self.dialer.dial(&self.remote, exchange).await.map_err(|Sending(error)| error)
    }
}

/// Why a request was not answered.
struct Sending(HttpError);

impl<E: Into<HttpError>> From<E> for Sending {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Sending>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong there is told by the request.
    let driver = tokio::spawn(async move { drop(connection.await) });
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
    driver.abort();
    Ok(Response::from_parts(head, body))
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.runtime.spawn(self.clone().exchange(request)).await?;
        let failed = match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        let told = AWAY.swap(failed.is_some(), Ordering::Relaxed);
        match failed {
            Some(error) if !told => {
                tracing::warn!(event = "traces_lost", error, "the collector takes no traces");
            }
            None if told => {
                tracing::info!(event = "traces_sent", "the collector takes traces again");
            }
            _ => {}
        }
        answer
    }
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("to", &self.authority).finish_non_exhaustive()
    }
}

//! One POST and its whole answer, within bounds: its time, the bytes of head and body, no redirect,
//! no cookie, no compression, no proxy. A session has one connection, which is dialled when it is
//! needed.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request};
use offtake_egress::{Error as DialError, SocketDialer, TlsMode};
use offtake_postgres::chain;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::database::D1Database;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of an answer's body. A page of rows is some megabytes.
const BODY_BYTES_MAX: usize = 64 << 20;

const USER_AGENT: &str = concat!("Offtake/", env!("CARGO_PKG_VERSION"));

/// The connection of one session, while it has one.
#[derive(Default)]
pub(super) struct Client(Mutex<Option<SendRequest<Full<Bytes>>>>);

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// The request did not leave.
    NotSent(String),
    /// It may have arrived, and may still run.
    Unknown(String),
    /// The same, and no answer came in time.
    TimedOut(String),
}

impl Client {
    /// Requests of one session follow each other: the database runs them one after the other anyway.
    pub(super) async fn post(
        &self,
        to: &D1Database,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, Unanswered> {
        let mut connection = self.0.lock().await;
        let deadline = Instant::now() + limit;
        let request = request(to, body).map_err(|error| Unanswered::NotSent(error.to_string()))?;
        // Whether the server closed an idle connection is known only when it is used: the sender is
        // asked first, and a request that was lost with its connection is sent again by the caller.
        let idle = connection.take().filter(|sender| !sender.is_closed());
        let mut sender = match idle {
            Some(sender) => sender,
            None => dial(to).await.map_err(|error| Unanswered::NotSent(chain(&error)))?,
        };
        let answer = timeout_at(deadline, exchange(&mut sender, request, to)).await;
        let answer = answer.unwrap_or_else(|_| {
            let text = format!("{} gave no answer within {} s", to.host(), limit.as_secs());
            Err(Unanswered::TimedOut(text))
        })?;
        *connection = Some(sender);
        Ok(answer)
    }
}

fn request(to: &D1Database, body: Bytes) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut token = HeaderValue::from_str(&to.authorization())?;
    token.set_sensitive(true);
    Request::builder()
        .method(Method::POST)
        .uri(to.path())
        .header("host", to.authority())
        .header("authorization", token)
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("user-agent", USER_AGENT)
        .body(Full::new(body))
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    to: &D1Database,
) -> Result<Answer, Unanswered> {
    let lost = |error: hyper::Error| {
        let text = format!("the connection with {} was lost: {}", to.host(), chain(&error));
        match error.is_canceled() || error.is_closed() {
            true => Unanswered::NotSent(text),
            false => Unanswered::Unknown(text),
        }
    };
    sender.ready().await.map_err(lost)?;
    let response = sender.send_request(request).await.map_err(lost)?;
    let (head, mut rest) = response.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = rest.frame().await {
        let frame = frame.map_err(|error| Unanswered::Unknown(chain(&error)))?;
        let Some(data) = frame.data_ref() else { continue };
        if body.len() + data.len() > BODY_BYTES_MAX {
            let text = format!("{} answers with more than {BODY_BYTES_MAX} bytes", to.host());
            return Err(Unanswered::Unknown(text));
        }
        body.extend_from_slice(data);
    }
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.into() })
}

async fn dial(to: &D1Database) -> Result<SendRequest<Full<Bytes>>, DialError> {
    // The endpoint is the operator's, so it may have any address.
    static DIALER: LazyLock<SocketDialer> =
        LazyLock::new(|| SocketDialer::trusted(CONNECT_TIMEOUT));
    let remote = to.remote();
    let connection = offtake_http::connect(&DIALER, &remote, None, ()).await?;
    if remote.tls == TlsMode::Disable && !connection.peer.is_on_this_machine() {
        let why = "plain http would show the token to the network".to_owned();
        return Err(DialError::Tls { host: remote.host, why });
    }
    Ok(connection.sender)
}

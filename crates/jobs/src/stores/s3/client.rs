//! One request and its answer: signed, within bounds, and sent again where that may help.
//!
//! Every request may be sent twice: it writes the same bytes under the same key, or reads, or
//! deletes. What cannot be told apart after a lost answer is told by the caller, who learns that a
//! request was repeated.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use offtake_egress::{Error as DialError, SocketDialer, TlsMode};
use offtake_postgres::chain;
use rand::Rng as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::Refusal;
use super::place::BucketPlace;
use super::signature::{self, Signed};
use crate::stores::{Error, Trouble};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a request is sent.
const ATTEMPTS: u32 = 6;

/// The pause before a request is sent again; doubles, and is spread.
const PAUSE: Duration = Duration::from_millis(200);

/// A store that asks for a longer pause than this is left alone: the caller tries again later.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// The head of an answer comes within this time, after the request has left at this rate.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
const SENT_BYTES_PER_SECOND: u64 = 64 << 10;

/// Between two pieces of an answer.
pub(super) const PIECE_WITHIN: Duration = Duration::from_secs(30);

/// The bytes of an answer that is not an object: a listing has a thousand keys.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Connections that are kept for the next request, and for how long.
const IDLE_MAX: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(15);

const USER_AGENT: &str = concat!("Offtake/", env!("CARGO_PKG_VERSION"));

/// A bucket's client. Clones would not share connections: it is shared.
pub(super) struct Client {
    pub(super) place: BucketPlace,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

pub(super) type Sender = SendRequest<Full<Bytes>>;

/// What is asked for.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// In small letters.
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) body: Bytes,
    /// What is being done, for the message of a failure.
    pub(super) what: &'a str,
}

/// A success.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The request was sent more than once, and an earlier one may have taken effect.
    pub(super) repeated: bool,
    body: Incoming,
    sender: Sender,
}

/// A failure.
pub(super) struct Failed {
    pub(super) error: Error,
    /// As in [`Answer`].
    pub(super) repeated: bool,
    /// What the store said, if it did.
    pub(super) refusal: Option<Refusal>,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// Why there is no answer.
enum Lost {
    /// The connection was an old one and had been closed: nothing arrived.
    Stale,
    /// The request did not leave.
    NotSent(String),
    /// It may have arrived.
    Unknown(String),
}

impl Client {
    pub(super) fn new(place: BucketPlace) -> Self {
        Self { place, idle: Mutex::default() }
    }

    /// Sends a request until it is answered, within bounds.
    pub(super) async fn call(&self, request: &Request<'_>) -> Result<Answer, Failed> {
        let (mut repeated, mut attempt) = (false, 0);
        loop {
            attempt += 1;
            let (error, refusal, pause) = match self.once(request).await {
                Ok((head, body, sender)) if head.status.is_success() => {
                    let (status, headers) = (head.status, head.headers);
                    return Ok(Answer { status, headers, repeated, body, sender });
                }
                Ok((head, body, sender)) => {
                    let refusal = self.refusal(&head, body, sender).await;
                    let error = refusal.error(request.what, &self.place);
                    if !refusal.passing() {
                        return Err(Failed { error, repeated, refusal: Some(refusal) });
                    }
                    // A gateway may have passed it on.
                    repeated |= head.status.is_server_error();
                    (error, Some(refusal), retry_after(&head.headers))
                }
                Err(Lost::Stale) => {
                    attempt -= 1;
                    continue;
                }
                Err(Lost::NotSent(why)) => (self.unreachable(request, &why), None, None),
                Err(Lost::Unknown(why)) => {
                    repeated = true;
                    (self.unreachable(request, &why), None, None)
                }
            };
            let spread = rand::rng().random_range(1.0..1.5);
            let pause = pause.unwrap_or_default().max(PAUSE * 2u32.pow(attempt - 1));
            if attempt == ATTEMPTS || pause > PAUSE_MAX {
                return Err(Failed { error, repeated, refusal });
            }
            tokio::time::sleep(pause.mul_f64(spread)).await;
        }
    }

    /// The same, for an answer that is small: its text.
    pub(super) async fn ask(&self, request: &Request<'_>) -> Result<(HeaderMap, String), Failed> {
        let answer = self.call(request).await?;
        let (headers, repeated) = (answer.headers, answer.repeated);
        match self.text(answer.body, answer.sender).await {
            Some(text) => Ok((headers, text)),
            None => {
                let error = self.unreachable(request, "its answer was cut");
                Err(Failed { error, repeated, refusal: None })
            }
        }
    }

    fn unreachable(&self, request: &Request<'_>, why: &str) -> Error {
        Error::new(Trouble::Unreachable, request.what, format!("store unreachable ({why})"))
    }

    /// Reads a small body, and keeps the connection. None: it was cut, or is not small.
    async fn text(&self, mut body: Incoming, sender: Sender) -> Option<String> {
        let mut text = Vec::new();
        loop {
            match timeout(PIECE_WITHIN, body.frame()).await.ok()? {
                None => break,
                Some(frame) => {
                    let Ok(data) = frame.ok()?.into_data() else { continue };
                    if text.len() + data.len() > ANSWER_BYTES_MAX {
                        return None;
                    }
                    text.extend_from_slice(&data);
                }
            }
        }
        self.keep(sender);
        String::from_utf8(text).ok()
    }

    async fn refusal(
        &self,
        head: &hyper::http::response::Parts,
        body: Incoming,
        sender: Sender,
    ) -> Refusal {
        let region = head.headers.get("x-amz-bucket-region");
        let region = region.and_then(|region| region.to_str().ok()).map(str::to_owned);
        let body = self.text(body, sender).await.unwrap_or_default();
        Refusal::read(head.status, region, &body)
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((sender, Instant::now()));
        }
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_FOR);
        idle.pop().map(|(sender, _)| sender)
    }

    async fn once(
        &self,
        request: &Request<'_>,
    ) -> Result<(hyper::http::response::Parts, Incoming, Sender), Lost> {
        let signed = self.signed(request).map_err(|error| Lost::NotSent(error.to_string()))?;
        let kept = self.kept();
        let reused = kept.is_some();
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.dial().await.map_err(|error| Lost::NotSent(chain(&error)))?,
        };
        let sending = u64::try_from(request.body.len()).unwrap_or(u64::MAX) / SENT_BYTES_PER_SECOND;
        let deadline = Instant::now() + ANSWERS_WITHIN + Duration::from_secs(sending);
        let lost = |error: hyper::Error| match error.is_canceled() || error.is_closed() {
            true if reused => Lost::Stale,
            true => Lost::NotSent(chain(&error)),
            false => Lost::Unknown(chain(&error)),
        };
        let exchange = async {
            sender.ready().await.map_err(lost)?;
            sender.send_request(signed).await.map_err(lost)
        };
        let answer = timeout_at(deadline, exchange).await;
        let answer =
            answer.unwrap_or_else(|_| Err(Lost::Unknown("no answer in time".to_owned())))?;
        let (head, body) = answer.into_parts();
        Ok((head, body, sender))
    }

    fn signed(
        &self,
        request: &Request<'_>,
    ) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
        let authority = self.place.endpoint.authority();
        let moment = signature::moment(Timestamp::now());
        let hash = signature::sha256(&request.body);
        let mut headers = vec![
            ("host", authority.as_str()),
            ("x-amz-content-sha256", hash.as_str()),
            ("x-amz-date", moment.as_str()),
        ];
        headers.extend_from_slice(&request.headers);
        headers.sort_unstable();
        let to_sign = Signed {
            method: request.method.as_str(),
            path: &request.path,
            query: request.query,
            headers: &headers,
            body: &hash,
        };
        let authorization = signature::authorization(&self.place, &moment, &to_sign);
        let mut authorization = HeaderValue::from_str(&authorization)?;
        authorization.set_sensitive(true);
        let uri = match request.query {
            [] => request.path.clone(),
            query => format!("{}?{}", request.path, signature::query_text(query)),
        };
        let mut built = hyper::Request::builder().method(request.method.clone()).uri(uri);
        for (name, value) in headers {
            built = built.header(name, value);
        }
        built
            .header("authorization", authorization)
            .header("user-agent", USER_AGENT)
            .body(Full::new(request.body.clone()))
    }

    async fn dial(&self) -> Result<Sender, DialError> {
        // The endpoint is the operator's, so it may have any address.
        static DIALER: LazyLock<SocketDialer> =
            LazyLock::new(|| SocketDialer::trusted(CONNECT_TIMEOUT));
        let remote = self.place.remote();
        let connection = offtake_http::connect(&DIALER, &remote, None, ()).await?;
        if remote.tls == TlsMode::Disable && !connection.peer.is_on_this_machine() {
            let why = "plain http would show everything to the network".to_owned();
            return Err(DialError::Tls { host: remote.host, why });
        }
        Ok(connection.sender)
    }
}

impl Answer {
    /// For an answer that is large: its pieces, and the connection to keep at their end.
    pub(super) fn into_body(self) -> (Incoming, Sender) {
        (self.body, self.sender)
    }
}

/// What a store asks for, in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
